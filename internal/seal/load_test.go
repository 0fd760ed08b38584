package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

// keyOf is a master key that is one letter 32 times.
func keyOf(letter string) []byte { return bytes.Repeat([]byte(letter), masterSize) }

func text(letter string) string { return base64.StdEncoding.EncodeToString(keyOf(letter)) }

func write(t *testing.T, path, content string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

func TestKeysAreReadInEveryFormThatPeopleWriteThemIn(t *testing.T) {
	// Bytes that differ in all the alphabets of base64.
	key := bytes.Repeat([]byte{0xfb, 0xef, 0xbe, 0xff}, 8)
	for name, text := range map[string]string{
		"base64":                  base64.StdEncoding.EncodeToString(key),
		"base64 without padding":  base64.RawStdEncoding.EncodeToString(key),
		"base64 of URLs":          base64.URLEncoding.EncodeToString(key),
		"the same, unpadded":      base64.RawURLEncoding.EncodeToString(key),
		"hex":                     hex.EncodeToString(key),
		"HEX":                     strings.ToUpper(hex.EncodeToString(key)),
		"remarks and empty lines": "# made by\n\n  " + hex.EncodeToString(key) + " # me\r\n,\n",
		"a byte order mark":       "\ufeff" + hex.EncodeToString(key) + "\r\n",
	} {
		got, err := parse(text)
		if err != nil || len(got) != 1 || !bytes.Equal(got[0].key, key) {
			t.Errorf("%s: %d keys, %v", name, len(got), err)
		}
	}
}

func TestTheFirstKeySealsAndAllOpen(t *testing.T) {
	for _, between := range []string{",", "\n", " , ", "\r\n# old\r\n"} {
		k, err := Load(Options{Env: text("a") + between + text("b")})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Load(Options{Env: text("b")})
		if err != nil {
			t.Fatal(err)
		}
		if k.Primary() != idOf(keyOf("a")) {
			t.Errorf("%q: %s seals", between, KeyID(k.Primary()))
		}
		sealed, id, err := b.Seal("x", []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := k.Open("x", sealed, id); err != nil || string(plain) != "secret" {
			t.Errorf("%q: %q, %v", between, plain, err)
		}
	}
}

func TestWhatIsNoKeyIsSaidWithoutShowingIt(t *testing.T) {
	short := base64.StdEncoding.EncodeToString([]byte("sixteen letters!"))
	for name, c := range map[string]struct{ text, want string }{
		"too short":          {"\n" + short, "line 2 holds no master key: it has 24 characters"},
		"too long":           {text("a") + text("b"), "line 1"},
		"48 bytes in base64": {base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("c"), 48)), "line 1"},
		"bits too many":      {text("a")[:42] + "F=", "line 1"},
		"and in URLs":        {base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xef}, 16))[:42] + "9", "line 1"},
		"a password":         {"correct horse battery staple", "line 1"},
		"twice":              {text("a") + "\n" + text("b") + "\n" + hex.EncodeToString(keyOf("b")), "the master key in line 3 is the second one once more"},
		"nothing":            {"# nothing but a remark\n , \n", "there is no master key in it"},
	} {
		_, err := Load(Options{Env: c.text})
		if jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "JACKFIELD_MASTER_KEY") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for word := range strings.FieldsSeq(strings.ReplaceAll(c.text, "# nothing but a remark", "")) {
			if len(word) > 4 && strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error quotes %q: %v", name, word, err)
			}
		}
	}
}

func TestThereAreNotMoreKeysThanAnybodyNeeds(t *testing.T) {
	var lines strings.Builder
	for range maxKeys + 1 {
		lines.WriteString(hex.EncodeToString(newMaster().key) + "\n")
	}
	if _, err := parse(lines.String()); err == nil || !strings.Contains(err.Error(), "more than 64") {
		t.Error(err)
	}
	path := write(t, filepath.Join(t.TempDir(), "keys"), strings.Repeat("#\n", maxText), 0o600)
	if _, err := Load(Options{File: path}); err == nil || !strings.Contains(err.Error(), "larger than 64 KiB") {
		t.Error(err)
	}
}

func TestAFileComesBeforeTheEnvironmentAndThatBeforeTheDirectory(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "keys"), text("f"), 0o600)
	for want, o := range map[string]Options{
		"f": {File: file, Env: text("e"), Dir: dir},
		"e": {Env: text("e"), Dir: dir},
	} {
		k, err := Load(o)
		if err != nil || k.Primary() != idOf(keyOf(want)) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, masterFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a key was made that nobody asked for", err)
	}
	if _, err := Load(Options{File: filepath.Join(dir, "none"), Env: text("e")}); jackfield.CodeOf(err) != jackfield.Unavailable {
		t.Error("a file that is not there:", err)
	}
	if _, err := Load(Options{File: dir}); jackfield.CodeOf(err) != jackfield.Invalid {
		t.Error("a directory:", err)
	}
}

func TestTheMasterKeyIsMadeOnceAndReadByNobodyElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := Load(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(Options{Dir: dir, Env: " \n"})
	if err != nil || again.Primary() != first.Primary() {
		t.Fatal("another key at the second start", err)
	}
	path := filepath.Join(dir, masterFile)
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("%d files, not one", len(names))
	}
	other, err := Load(Options{Dir: t.TempDir()})
	if err != nil || other.Primary() == first.Primary() {
		t.Error("two directories have one key", err)
	}
	a, _ := Load(Options{})
	b, _ := Load(Options{})
	if a.Primary() == b.Primary() {
		t.Error("two processes without a directory have one key")
	}
}

func TestOfManyWhoStartAtOnceOneMakesTheKey(t *testing.T) {
	dir := t.TempDir()
	ids := make([]uint32, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			k, err := Load(Options{Dir: dir})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = k.Primary()
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("%x", ids)
		}
	}
}

func TestAFileThatOthersCanReadIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // it has no such modes
	}
	// As Kubernetes makes them: names that lead through ..data to where the files are.
	mount := t.TempDir()
	data := filepath.Join(mount, "..2026")
	if err := errors.Join(os.Mkdir(data, 0o700), os.Symlink("..2026", filepath.Join(mount, "..data")),
		os.Symlink(filepath.Join("..data", "key"), filepath.Join(mount, "key"))); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "key")
	for _, c := range []struct {
		link, path string
		mode       fs.FileMode
		ok         bool
	}{
		{plain, plain, 0o600, true},
		{plain, plain, 0o400, true},
		{plain, plain, 0o440, false},
		{plain, plain, 0o604, false},
		{plain, plain, 0o620, false},
		{filepath.Join(mount, "key"), filepath.Join(data, "key"), 0o400, true},
		{filepath.Join(mount, "key"), filepath.Join(data, "key"), 0o440, true},
		{filepath.Join(mount, "key"), filepath.Join(data, "key"), 0o460, false},
		{filepath.Join(mount, "key"), filepath.Join(data, "key"), 0o444, false},
	} {
		_ = os.Remove(c.path)
		write(t, c.path, text("a"), c.mode)
		_, err := Load(Options{File: c.link})
		if c.ok != (err == nil) || !c.ok && (jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "defaultMode: 0400")) {
			t.Errorf("%s with %04o: %v", c.link, c.mode, err)
		}
	}
}

func FuzzKeysAreParsed(f *testing.F) {
	f.Add(text("a"))
	f.Add("# a\n" + hex.EncodeToString(keyOf("b")) + "," + text("c") + "\r\n")
	f.Add("\ufeff=====,-_-_#")
	f.Fuzz(func(t *testing.T, in string) {
		masters, err := parse(in)
		if err != nil {
			// The words of an error are ours: no piece of the text that could be of a key.
			for i := range len(in) - 24 {
				if strings.Contains(err.Error(), in[i:i+24]) {
					t.Fatalf("%v quotes %q", err, in)
				}
			}
			return
		}
		seen := map[uint32]bool{}
		var again strings.Builder
		for _, m := range masters {
			if len(m.key) != masterSize || m.id == 0 || seen[m.id] {
				t.Fatalf("%x of %q", m.key, in)
			}
			seen[m.id] = true
			again.WriteString(hex.EncodeToString(m.key) + ",")
		}
		same, err := parse(again.String())
		if err != nil || len(same) != len(masters) || len(masters) == 0 || same[0].id != masters[0].id {
			t.Fatalf("%d keys become %d: %v", len(masters), len(same), err)
		}
	})
}
