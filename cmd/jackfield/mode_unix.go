//go:build !windows

package main

import "io/fs"

// readableByItsUserOnly reports whether nobody else can read the file.
func readableByItsUserOnly(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }
