//go:build linux

package disk

import (
	"math/rand/v2"
	"slices"
)

// change is that a name in a directory stood for one inode, and now for another;
// nil is none.
type change struct {
	dir      *inode
	name     string
	from, to *inode
}

// operation is what happens to names at once, or not at all, in a power failure.
// It needs all earlier operations that share a directory with it.
type operation struct {
	changes []change
	touches []*inode
}

// record makes an operation on names the newest unsynced one. The live names were
// changed already.
func (d *Disk) record(touches []*inode, changes ...change) {
	for _, c := range changes {
		d.claim(c.from)
		d.claim(c.to)
	}
	if d.options.OneJournal {
		touches = []*inode{d.root}
	}
	d.log = append(d.log, operation{changes: changes, touches: touches})
	if len(d.log) > d.options.UnsyncedNames {
		// Any first part of the log is closed under "needs".
		half := len(d.log) / 2
		for _, op := range d.log[:half] {
			d.commit(op)
		}
		d.log = slices.Delete(d.log, 0, half)
	}
}

// commit makes an operation durable. It is for the caller to take it off the log.
func (d *Disk) commit(op operation) {
	for _, c := range op.changes {
		before := c.dir.durable[c.name]
		if c.to == nil {
			delete(c.dir.durable, c.name)
		} else {
			c.dir.durable[c.name] = c.to
			d.claim(c.to)
		}
		d.unclaim(before)
	}
	d.forget(op)
}

// forget gives up what the operation claimed.
func (d *Disk) forget(op operation) {
	for _, c := range op.changes {
		d.unclaim(c.from)
		d.unclaim(c.to)
	}
}

// syncNames makes all operations durable that touch the directory, and all that
// these need.
func (d *Disk) syncNames(dir *inode) {
	needed := map[*inode]bool{dir: true}
	durable := make([]bool, len(d.log))
	for i, op := range slices.Backward(d.log) {
		durable[i] = slices.ContainsFunc(op.touches, func(t *inode) bool { return needed[t] })
		if durable[i] {
			for _, t := range op.touches {
				needed[t] = true
			}
		}
	}
	rest := d.log[:0]
	for i, op := range d.log {
		if durable[i] {
			d.commit(op)
		} else {
			rest = append(rest, op)
		}
	}
	clear(d.log[len(rest):])
	d.log = rest
}

// loseNames decides which unsynced operations survive, and leaves the result in the
// durable names. Each directory, and each group of them that operations join, keeps
// a first part of its operations.
func (d *Disk) loseNames(random *rand.Rand, loss *Loss) {
	// The chance that an operation is where its directory's log ends.
	stop := 1.0
	if random != nil {
		stop = []float64{0, 0.02, 0.1, 0.3, 1}[random.IntN(5)]
	}
	cut := map[*inode]bool{}
	for _, op := range d.log {
		lost := slices.ContainsFunc(op.touches, func(t *inode) bool { return cut[t] })
		if !lost && (random == nil || random.Float64() < stop) {
			lost = true
		}
		if !lost {
			loss.NamesKept++
			d.commit(op)
			continue
		}
		loss.Names++
		for _, t := range op.touches {
			cut[t] = true
		}
		d.forget(op)
	}
	d.log = nil
}
