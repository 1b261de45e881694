package logstore

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// chain follows a log from its first entry on and checks that nothing is missing
// or altered. It is a small value: a copy is a point to come back to.
type chain struct {
	// first and last are the indexes seen, 0 before the first; term and sum are
	// those of last.
	first, last, term uint64
	sum               uint32
	// want is what the mark says; wantSeen that its entry last was met, unchanged.
	want     bounds
	wantSeen bool
	// visit, if not nil, is called for each entry that was added, without its
	// trailer. The entry is valid during the call.
	visit func(*raft.Log)
}

// add takes the next entry as it was stored. The error says what is wrong with
// it; the chain is then unchanged.
func (c *chain) add(l *raft.Log) error {
	if c.first != 0 && l.Index != c.last+1 {
		return fmt.Errorf("entry %d follows entry %d", l.Index, c.last)
	}
	if l.Index == 0 {
		return fmt.Errorf("entry has index 0")
	}
	t, ok := unseal(l)
	if !ok {
		return fmt.Errorf("entry %d: checksum is wrong", l.Index)
	}
	if c.first != 0 && t.prev != c.sum {
		return fmt.Errorf("entry %d was not written after the entry before it", l.Index)
	}
	if l.Index == c.want.last {
		if t.sum != c.want.sum {
			return fmt.Errorf("entry %d is not the one that was stored last under this index", l.Index)
		}
		c.wantSeen = true
	}
	if c.first == 0 {
		c.first = l.Index
	}
	c.last, c.term, c.sum = l.Index, l.Term, t.sum
	if c.visit != nil {
		c.visit(l)
	}
	return nil
}

// complete checks that the log holds at least what the mark says.
func (c *chain) complete() error {
	switch {
	case c.want.last == 0:
		return nil
	case c.last < c.want.last:
		return fmt.Errorf("the log ends at entry %d, but entries up to %d were stored", c.last, c.want.last)
	case c.want.first != 0 && c.first > c.want.first:
		return fmt.Errorf("the log starts at entry %d, but entries from %d were not deleted", c.first, c.want.first)
	case !c.wantSeen:
		return fmt.Errorf("the log starts at entry %d, after the last one that was stored, %d", c.first, c.want.last)
	}
	return nil
}
