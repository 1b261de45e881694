package pebblestore

// recent remembers what the writer used lately. It is a cache of the truth in the
// store, filled only with what was committed or read from it.
//
// It holds two maps: when the young one has half the limit, it becomes the old
// one, and the old one is forgotten. So what is used again stays, without a list
// to keep in order.
type recent[K comparable, V any] struct {
	limit      int
	young, old map[K]V
}

func (c *recent[K, V]) get(key K) (V, bool) {
	if v, ok := c.young[key]; ok {
		return v, true
	}
	v, ok := c.old[key]
	if ok {
		c.put(key, v)
	}
	return v, ok
}

// put keeps the key, which must not share memory with a request.
func (c *recent[K, V]) put(key K, value V) {
	if c.limit <= 1 {
		return
	}
	if _, known := c.young[key]; !known && len(c.young) >= c.limit/2 {
		c.young, c.old = c.old, c.young
		clear(c.young)
	}
	if c.young == nil {
		c.young = make(map[K]V)
	}
	c.young[key] = value
}

func (c *recent[K, V]) clear() {
	clear(c.young)
	clear(c.old)
}

// drop forgets the keys for which which says so.
func (c *recent[K, V]) drop(which func(K) bool) {
	for _, m := range []map[K]V{c.young, c.old} {
		for key := range m {
			if which(key) {
				delete(m, key)
			}
		}
	}
}
