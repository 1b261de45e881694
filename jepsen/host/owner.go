//go:build linux

package host

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// farSocket finds the inode of the other end of a connection over loopback in the
// kernel's table of sockets, /proc/net/tcp:
//
//	number local:port remote:port state tx:rx timer:when retries uid timeout inode …
func farSocket(conn *net.TCPConn) (inode string, ok bool) {
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		return "", false
	}
	local, remote := tableAddress(conn.RemoteAddr()), tableAddress(conn.LocalAddr())
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[1] == local && fields[2] == remote {
			return fields[9], true
		}
	}
	return "", false
}

// hasSocket reports whether a process holds the socket. Only processes of the same
// user can be looked into.
func hasSocket(pid int, inode string) bool {
	want := "socket:[" + inode + "]"
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && target == want {
			return true
		}
	}
	return false
}

// tableAddress writes an IPv4 address as /proc/net/tcp does: the address as a number
// in the order of the machine, the port as one.
func tableAddress(address net.Addr) string {
	a := address.(*net.TCPAddr).AddrPort()
	bytes := a.Addr().Unmap().As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(bytes[:]), a.Port())
}
