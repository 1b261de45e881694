package server

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"tidemark/cmd/tidemark/internal/exit"
)

// clockLook is how often the file of a clock's offset is looked at, at most.
const clockLook = 50 * time.Millisecond

// offsetClock is a wrong clock, for tests of what a wrong clock may do: the true one
// and an offset that a file says, which may change while the node runs. Only the
// server times that a leader stamps depend on it, as on the machine's own clock.
type offsetClock struct {
	path   string
	logger *slog.Logger

	// mu guards what follows: leadership and proposals are of two goroutines.
	mu     sync.Mutex
	looked time.Time
	offset time.Duration
	failed bool
}

// openClock returns the machine's clock if path is empty.
func openClock(path string, logger *slog.Logger) (func() time.Time, error) {
	if path == "" {
		return time.Now, nil
	}
	offset, err := readOffset(path)
	if err != nil {
		return nil, exit.Usagef("--clock-offset-file: %v", err)
	}
	logger.Warn("this node's clock is wrong on purpose; server times depend on a file", "file", path, "offset", offset)
	c := &offsetClock{path: path, logger: logger, looked: time.Now(), offset: offset}
	return c.now, nil
}

// now has no monotonic part: a time that is taken for another must not be told by it.
func (c *offsetClock) now() time.Time {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked) >= clockLook {
		c.looked = now
		c.look()
	}
	return now.Round(0).Add(c.offset)
}

// look reads the file again. An offset that cannot be read stays what it was.
func (c *offsetClock) look() {
	offset, err := readOffset(c.path)
	switch {
	case err != nil && !c.failed:
		c.logger.Error("the offset of the clock stays as it is", "offset", c.offset, "error", err)
	case err == nil && offset != c.offset:
		c.logger.Warn("the clock steps", "from", c.offset, "to", offset)
		c.offset = offset
	}
	c.failed = err != nil
}

func readOffset(path string) (time.Duration, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s must hold a duration, such as -1h30m: %w", path, err)
	}
	return offset, nil
}
