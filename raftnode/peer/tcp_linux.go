package peer

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlTCP sets userTimeout. Accepted sockets inherit it from the listening one.
func controlTCP(_, _ string, c syscall.RawConn) error {
	var optErr error
	err := c.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	return errors.Join(err, optErr)
}
