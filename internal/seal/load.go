package seal

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/jackfield-dev/jackfield"
)

const (
	masterFile = "master.key"
	masterSize = 32
	maxKeys    = 64
	maxText    = 64 << 10

	howTo = "a master key is 32 bytes in base64 or hex, as `openssl rand -base64 32` makes one"
)

// Options say where the master keys are. The first that is set counts.
type Options struct {
	File string // a file with the keys
	Env  string // the keys themselves: the value of JACKFIELD_MASTER_KEY
	// Dir is the data directory, in which the keys are when they are nowhere else. A
	// key is made there at the first start. Empty: a key for this process only.
	Dir string
}

// Load reads the master keys. Errors are for people, and quote none of what was
// read.
func Load(o Options) (*Keys, error) {
	switch {
	case o.File != "":
		return loadFile(o.File)
	case strings.TrimSpace(o.Env) != "":
		const from = "JACKFIELD_MASTER_KEY"
		masters, err := parse(o.Env)
		if err != nil {
			return nil, jackfield.Errorf(jackfield.Invalid, "%s: %w; %s", from, err, howTo)
		}
		return newKeys(masters, from)
	case o.Dir != "":
		return loadDir(o.Dir)
	}
	masters := []master{newMaster()}
	return newKeys(masters, "this process")
}

func loadDir(dir string) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot make the data directory: %w; choose another with --data", err)
	}
	path := filepath.Join(dir, masterFile)
	m := newMaster()
	text := "# Opens every secret that this gateway keeps. Without it they are lost: keep a copy where backups are not.\n" +
		base64.StdEncoding.EncodeToString(m.key) + "\n"
	switch err := writeNew(path, []byte(text)); {
	case errors.Is(err, fs.ErrExist):
		return loadFile(path)
	case err != nil:
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot write the master key: %w; choose another data directory with --data", err)
	}
	k, err := newKeys([]master{m}, path)
	if err != nil {
		return nil, err
	}
	k.made = true
	return k, nil
}

func loadFile(path string) (*Keys, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	masters, err := parse(string(text))
	if err != nil {
		return nil, jackfield.Errorf(jackfield.Invalid, "%s: %w; %s", path, err, howTo)
	}
	return newKeys(masters, path)
}

func readPrivate(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot read the master key: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot read the master key: %w", err)
	case !info.Mode().IsRegular():
		return nil, jackfield.Errorf(jackfield.Invalid, "%s holds no master key: it is not a file", path)
	}
	others := fs.FileMode(0o077)
	if mounted(path) {
		others = 0o037
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&others != 0 {
		return nil, jackfield.Errorf(jackfield.Invalid,
			"%s, the master key, can be read by others (mode %04o); make it 0600. Of a mounted secret set defaultMode: 0400 (Kubernetes) or mode: 0400 (Compose)", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, maxText+1))
	switch {
	case err != nil:
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot read the master key: %w", err)
	case len(text) > maxText:
		return nil, jackfield.Errorf(jackfield.Invalid, "%s is larger than %d KiB, and so no list of master keys; %s", path, maxText>>10, howTo)
	}
	return text, nil
}

// mounted reports whether path is in a volume that Kubernetes made of a secret. With
// a pod's fsGroup, which is how a process that is not root gets to read it at all,
// such files are always readable by that group, whatever their defaultMode.
func mounted(path string) bool {
	info, err := os.Lstat(filepath.Join(filepath.Dir(path), "..data"))
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// master is a master key.
type master struct {
	key []byte
	id  uint32
}

func newMaster() master {
	key := make([]byte, masterSize)
	_, _ = rand.Read(key) // never fails
	return master{key, idOf(key)}
}

// idOf is never 0, which stands for no key.
func idOf(key []byte) uint32 {
	sum := sha256.Sum256(key)
	return max(binary.BigEndian.Uint32(sum[:]), 1)
}

// parse reads master keys. There is at least one when it returns no error.
func parse(text string) ([]master, error) {
	var masters []master
	text = strings.TrimPrefix(text, "\ufeff") // as editors of Windows begin a file
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		for word := range strings.SplitSeq(line, ",") {
			word = strings.TrimSpace(word)
			if word == "" {
				continue
			}
			key, ok := decode(word)
			if !ok {
				return nil, fmt.Errorf("line %d holds no master key: it has %d characters", number, len(word))
			}
			m := master{key, idOf(key)}
			for i, other := range masters {
				switch {
				case bytes.Equal(m.key, other.key):
					return nil, fmt.Errorf("the master key in line %d is the %s one once more; remove it", number, ordinal(i))
				case m.id == other.id:
					return nil, fmt.Errorf("the master keys in line %d and before have the same id %s by chance; make another", number, KeyID(m.id))
				}
			}
			if len(masters) == maxKeys {
				return nil, fmt.Errorf("there are more than %d master keys", maxKeys)
			}
			masters = append(masters, m)
		}
	}
	if len(masters) == 0 {
		return nil, errors.New("there is no master key in it")
	}
	return masters, nil
}

func ordinal(i int) string {
	switch i {
	case 0:
		return "first"
	case 1:
		return "second"
	case 2:
		return "third"
	}
	return fmt.Sprintf("%dth", i+1)
}

// decode reads 32 bytes that are written in hex or in one of the base64s.
func decode(word string) ([]byte, bool) {
	var key []byte
	var err error
	word = strings.TrimRight(word, "=")
	switch {
	case len(word) == hex.EncodedLen(masterSize):
		key, err = hex.DecodeString(word)
	case strings.ContainsAny(word, "-_"):
		key, err = base64.RawURLEncoding.Strict().DecodeString(word)
	default:
		key, err = base64.RawStdEncoding.Strict().DecodeString(word)
	}
	return key, err == nil && len(key) == masterSize
}

// writeNew writes a file that must not exist yet, whole or not at all, and returns
// when it is on the disk.
func writeNew(path string, content []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, masterFile+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Link(temp.Name(), path) // fails when another process was quicker
	}
	if err = errors.Join(err, os.Remove(temp.Name())); err != nil || runtime.GOOS == "windows" {
		return err // Windows cannot sync a directory
	}
	names, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(names.Sync(), names.Close())
}
