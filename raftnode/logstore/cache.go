package logstore

import (
	"sync"

	"github.com/hashicorp/raft"
)

// cache keeps the newest entries, without a gap, bounded in number and bytes.
// raft.LogCache has no bound in bytes, and cannot forget what a snapshot
// replaced.
type cache struct {
	mu       sync.RWMutex
	ring     []*raft.Log // by index modulo its length
	first    uint64      // of the entries held; next-first is their number
	next     uint64
	bytes    int
	maxBytes int
}

func newCache(entries, maxBytes int) *cache {
	return &cache{ring: make([]*raft.Log, entries), maxBytes: maxBytes}
}

func (c *cache) slot(index uint64) **raft.Log { return &c.ring[index%uint64(len(c.ring))] }

func (c *cache) get(index uint64, l *raft.Log) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if index < c.first || index >= c.next {
		return false
	}
	*l = **c.slot(index)
	return true
}

// add takes entries that follow what is held; if they do not, that is dropped.
func (c *cache) add(logs []*raft.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		if l.Index != c.next {
			c.dropBefore(c.next)
			c.first, c.next = l.Index, l.Index
		}
		size := len(l.Data) + len(l.Extensions)
		for c.first < c.next && (c.next-c.first == uint64(len(c.ring)) || c.bytes+size > c.maxBytes) {
			c.dropBefore(c.first + 1)
		}
		*c.slot(l.Index) = l
		c.next++
		c.bytes += size
	}
}

// forgetFrom drops the entries from index on.
func (c *cache) forgetFrom(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.next > c.first && c.next > index {
		c.next--
		c.drop(c.next)
	}
}

// forgetTo drops the entries up to index.
func (c *cache) forgetTo(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropBefore(min(index+1, c.next))
}

func (c *cache) dropBefore(index uint64) {
	for ; c.first < index; c.first++ {
		c.drop(c.first)
	}
}

func (c *cache) drop(index uint64) {
	s := c.slot(index)
	c.bytes -= len((*s).Data) + len((*s).Extensions)
	*s = nil
}
