//go:build !unix

package egress

// canProbe: an idle socket cannot be asked whether it is still open, and without
// that direct would send requests to servers that have left.
const canProbe = false

func (*socket) quiet() bool { return false }
