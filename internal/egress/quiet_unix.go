//go:build unix

package egress

import (
	"errors"
	"syscall"
)

// canProbe: an idle socket can be asked whether it is still open.
const canProbe = true

// quiet reports whether the server has said nothing on an idle socket: it has
// neither closed it nor sent what belongs to no request. It does not wait.
func (s *socket) quiet() bool {
	var one [1]byte
	silent := false
	err := s.raw.Read(func(fd uintptr) (done bool) {
		_, err := syscall.Read(int(fd), one[:])
		silent = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && silent
}
