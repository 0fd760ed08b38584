package app

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/jackfield-dev/jackfield"
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
