package app

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

const (
	keyFile = "gateway.key"
	keySize = 32
)

// loadKey reads the key that seals session ids and request states, and makes it on
// the first start. An empty directory means a key for this process only.
func loadKey(dir string) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	if dir == "" {
		return key, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot make the data directory: %w; choose another with --data", err)
	}
	path := filepath.Join(dir, keyFile)
	err := writeNew(path, key)
	if err == nil {
		return key, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot write the gateway's key: %w; choose another data directory with --data", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot read the gateway's key: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, jackfield.Errorf(jackfield.Invalid, "%s can be read by others (mode %04o); make it 0600, or remove it and let the gateway write a new one", path, info.Mode().Perm())
	}
	key, err = os.ReadFile(path)
	if err != nil {
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot read the gateway's key: %w", err)
	}
	if len(key) != keySize {
		return nil, jackfield.Errorf(jackfield.Invalid, "%s is not a key: it has %d bytes, not %d; remove it and let the gateway write a new one", path, len(key), keySize)
	}
	return key, nil
}

// sharedKeyRef is where replicas with one store keep their key.
var sharedKeyRef = record.Ref{Kind: record.Setting, ID: "gateway.key"}

// sharedKey is the key that all replicas with one store have, so that each opens what
// another sealed, and what it knows definitions by. The first one makes it, of its
// own.
func (p *parts) sharedKey(ctx context.Context, own []byte) ([]byte, error) {
	if p.store == nil || p.store.Engine() != "postgres" {
		return own, nil
	}
	if key, err := p.openKey(); key != nil || err != nil {
		return key, err
	}
	sealed, by, err := p.keys.Seal(sharedKeyRef.Bind(), own)
	if err != nil {
		return nil, err
	}
	_, err = p.follower.Write(ctx, "", record.Write{Ref: sharedKeyRef, Body: []byte("{}"), Sealed: sealed, Seal: by})
	if err == nil {
		return own, nil
	}
	if conflict, ok := errors.AsType[*record.Conflict](err); !ok || conflict.Current == 0 {
		return nil, err
	}
	p.follower.look(ctx, lookWithin) // another one was quicker
	key, err := p.openKey()
	if key == nil && err == nil {
		err = jackfield.Errorf(jackfield.Unavailable, "the store has a key of the replicas that cannot be read; start again")
	}
	return key, err
}

// openKey is the key of the replicas, as far as the store has one.
func (p *parts) openKey() ([]byte, error) {
	r := p.shared
	if r == nil {
		return nil, nil //nolint:nilnil // there is none yet
	}
	key, err := p.keys.Open(sharedKeyRef.Bind(), r.Sealed, r.Seal)
	if err == nil && len(key) != keySize {
		err = errors.New("it has another length")
	}
	if err != nil {
		return nil, jackfield.Errorf(jackfield.Invalid, "the key that the replicas share cannot be opened: %w", err)
	}
	return key, nil
}

// writeNew writes a file that must not exist yet, whole or not at all.
func writeNew(path string, content []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	temp, err := os.CreateTemp(filepath.Dir(path), keyFile+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Link(temp.Name(), path) // fails when another process was quicker
	}
	return errors.Join(err, os.Remove(temp.Name()))
}
