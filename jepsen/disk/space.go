//go:build linux

package disk

import (
	"math"
	"sync"
)

// space is what may still be written. Files that are removed give their space back
// at once, and files with holes take it for these as well.
type space struct {
	mu sync.Mutex
	// free is the number of bytes left, when limited.
	limited bool
	free    int64
}

// Fill leaves that many bytes free, until Heal. Beyond, files do not grow: write
// answers with what fitted, and then ENOSPC. Overwriting goes on.
func (d *Disk) Fill(free int64) {
	d.space.mu.Lock()
	defer d.space.mu.Unlock()
	d.space.limited, d.space.free = true, max(0, free)
}

func (s *space) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limited = false
}

// take returns how much of n bytes there is, and takes it. A negative n gives back.
func (s *space) take(n int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limited {
		n = min(n, s.free)
		s.free -= n
	}
	return n
}

// left returns the free bytes, math.MaxInt64 without a limit.
func (s *space) left() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.limited {
		return math.MaxInt64
	}
	return s.free
}
