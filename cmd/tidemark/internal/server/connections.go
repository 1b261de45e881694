package server

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds on the connections of strangers. A connection holds a file descriptor, and
// a node that has none left can write neither its log nor its store: whoever can
// connect could end it.
const (
	// maxClientConnections leaves room for thousands of frontends, which need one
	// each. Each costs some 70 KiB.
	maxClientConnections = 4096
	// maxHTTPConnections is for probes, scrapers and a person with a profile.
	maxHTTPConnections = 256
	// enoughFiles is what a node may need to have open: these connections, those of
	// the other nodes (320), the log, and the tables of the store.
	enoughFiles = 2*(maxClientConnections+maxHTTPConnections) + 1024
)

// openFiles is how many files and connections the process may have open.
func openFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return enoughFiles
	}
	return limit.Cur
}

// shareOf is the part of the files that one port may take: clients a quarter, HTTP an
// eighth, and the rest is for the data and the other nodes.
func shareOf(files, part uint64, most int64) int64 {
	return max(1, int64(min(files/part, uint64(most))))
}

// checkFiles warns of a limit that a busy node can meet.
func (s *server) checkFiles() {
	if files := openFiles(); files < enoughFiles {
		s.logger.Warn("the process may open few files (ulimit -n); fewer connections are accepted", "files", files, "enough", enoughFiles)
	}
}

// limitedListener accepts up to a number of connections at once, and closes those
// beyond it: a client then tries another node, instead of waiting for this one.
type limitedListener struct {
	net.Listener
	most   int64
	open   atomic.Int64
	logger *slog.Logger
	// told is when a refusal was logged last, in Unix nanoseconds.
	told atomic.Int64
}

func limitConnections(l net.Listener, most int64, logger *slog.Logger) net.Listener {
	return &limitedListener{Listener: l, most: most, logger: logger}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		conn.Close()
		l.tell()
	}
}

// tell logs at most once a minute: refusals come as fast as a stranger likes.
func (l *limitedListener) tell() {
	now, last := time.Now().UnixNano(), l.told.Load()
	if now-last > int64(time.Minute) && l.told.CompareAndSwap(last, now) {
		l.logger.Warn("connections are refused: too many are open", "listen", l.Addr().String(), "limit", l.most)
	}
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	c.release()
	return c.Conn.Close()
}
