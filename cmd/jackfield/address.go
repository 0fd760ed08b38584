package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
)

// addressFile is the name of the file in the data directory that says where the
// gateway is.
const addressFile = "address"

const maxAddress = 4096 // bytes of that file

// writeAddress writes the address file into the data directory, which is there,
// for the user alone. It appears all at once, so that nobody reads half of it.
func writeAddress(dir, url string) error {
	f, err := os.CreateTemp(dir, addressFile+"-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(url + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, addressFile))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more
	}
	return err
}

// removeAddress removes the address file, unless another gateway has written its
// own over it.
func removeAddress(dir, url string) error {
	if now, err := readAddress(dir); err != nil || now != url {
		return nil
	}
	return os.Remove(filepath.Join(dir, addressFile))
}

func readAddress(dir string) (string, error) {
	path := filepath.Join(dir, addressFile)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case info.Size() > maxAddress || !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not an address file", path)
	}
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}

// dataDir is where the gateway keeps its data, unless a configuration file says
// otherwise: --data, JACKFIELD_DATA, then the user's own directory.
func (s *shell) dataDir(flag string) (string, error) {
	c, _, err := app.Load("", app.Overrides{Data: flag, Env: func(name string) (string, bool) {
		if strings.HasPrefix(name, "JACKFIELD_") && name != "JACKFIELD_DATA" {
			return "", false // settings of a gateway, which this is not
		}
		return s.env(name)
	}})
	if err != nil {
		return "", err
	}
	return c.Data, nil
}

// find says where the gateway is, and who says so.
func (s *shell) find(url, data string) (address, source string, err error) {
	if url != "" {
		return url, "--url", nil
	}
	if url, _ := s.env("JACKFIELD_URL"); url != "" {
		return url, "JACKFIELD_URL", nil
	}
	dir, err := s.dataDir(data)
	if err != nil {
		return "", "", err
	}
	address, err = readAddress(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", jackfield.Errorf(jackfield.Unavailable,
			"no gateway is running, as far as %s knows; start one with jackfield serve, or name one with --url", dir)
	case err != nil:
		return "", "", jackfield.Errorf(jackfield.Unavailable, "the address of the gateway cannot be read: %w; name it with --url", err)
	}
	return address, filepath.Join(dir, addressFile), nil
}
