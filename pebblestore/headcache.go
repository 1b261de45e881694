package pebblestore

import "tidemark"

// headCache remembers the heads that the writer used lately. It is a cache of
// the truth in the store, filled only with what was committed or read from it.
//
// It holds two maps: when the young one has half the limit, it becomes the old
// one, and the old one is forgotten. So what is used again stays, without a list
// to keep in order.
type headCache struct {
	limit      int
	young, old map[tidemark.TimelineID]tidemark.Head
}

func (c *headCache) get(id tidemark.TimelineID) (tidemark.Head, bool) {
	if h, ok := c.young[id]; ok {
		return h, true
	}
	h, ok := c.old[id]
	if ok {
		c.put(h)
	}
	return h, ok
}

// put keeps h under its own id, which must not share memory with a request.
func (c *headCache) put(h tidemark.Head) {
	if c.limit <= 1 {
		return
	}
	if _, known := c.young[h.Timeline]; !known && len(c.young) >= c.limit/2 {
		c.young, c.old = c.old, c.young
		clear(c.young)
	}
	if c.young == nil {
		c.young = make(map[tidemark.TimelineID]tidemark.Head)
	}
	c.young[h.Timeline] = h
}

func (c *headCache) clear() {
	clear(c.young)
	clear(c.old)
}
