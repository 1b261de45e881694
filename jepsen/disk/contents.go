//go:build linux

package disk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
)

// The units of a disk: a power failure keeps or loses a sector as a whole, and old
// contents are remembered in blocks, as a page cache writes them back.
const (
	sectorSize = 512
	blockSize  = 4096
)

// contents is what a power failure needs to know of a file, beside its live contents.
//
// Invariant: the durable contents are, below synced, the blocks of old where there
// is one, and elsewhere what the file holds now.
type contents struct {
	// size is the live size, synced the durable one, in bytes.
	size, synced int64
	// allocated is the space that the file takes up: its size, or more by fallocate.
	allocated int64
	// old holds the durable contents of the blocks below synced that were overwritten
	// or cut off since. nil is a block of zeros.
	old      map[int64][]byte
	oldBytes int
	// stuck are the blocks of old that a sync does not make durable, because one has
	// failed since they were written: Linux then takes the pages for clean. Writing
	// the block again ends that.
	stuck map[int64]bool
	// changed says that there were writes since the last sync.
	changed bool
}

func newContents(size int64) contents {
	return contents{size: size, synced: size, allocated: size}
}

// sync makes the live contents the durable ones, but for blocks that are stuck.
func (c *contents) sync() {
	c.synced, c.oldBytes = c.size, 0
	for block, data := range c.old {
		if !c.stuck[block] || block*blockSize >= c.synced {
			delete(c.old, block)
			delete(c.stuck, block)
			continue
		}
		c.oldBytes += len(data)
	}
	c.changed = len(c.old) > 0
}

// reset makes the live contents the durable ones.
func (c *contents) reset() {
	clear(c.stuck)
	c.sync()
}

// failSync is a sync that failed: what was written since the last one stays as it is
// while the power does, and no later sync makes it durable.
func (c *contents) failSync() {
	if c.old == nil {
		c.old = map[int64][]byte{}
	}
	for block := blocks(c.synced); block < blocks(c.size); block++ {
		if _, ok := c.old[block]; !ok {
			c.old[block] = nil
		}
	}
	c.stuck = map[int64]bool{}
	for block := range c.old {
		c.stuck[block] = true
	}
}

// blocks is how many blocks hold that many bytes.
func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize }

// preserve remembers the durable contents of the blocks that hold any of the bytes
// from start to end, before they change.
func (c *contents) preserve(file *os.File, start, end int64, limit int) error {
	if c.oldBytes > limit {
		c.sync()
	}
	c.changed = true
	for block := start / blockSize; len(c.stuck) > 0 && block < blocks(end); block++ {
		delete(c.stuck, block)
	}
	end = min(end, c.synced)
	for block := start / blockSize; block*blockSize < end; block++ {
		if _, ok := c.old[block]; ok {
			continue
		}
		data, err := readBlock(file, block, c.synced)
		if err != nil {
			return err
		}
		if c.old == nil {
			c.old = map[int64][]byte{}
		}
		c.old[block] = data
		c.oldBytes += len(data)
	}
	return nil
}

// readBlock returns the block with zeros from the offset limit on, or nil if there is
// nothing else in it.
func readBlock(file *os.File, block, limit int64) ([]byte, error) {
	data := make([]byte, blockSize)
	n, err := file.ReadAt(data, block*blockSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	clear(data[min(int64(n), max(0, limit-block*blockSize)):])
	if zero(data) {
		return nil, nil
	}
	return data, nil
}

var zeros [blockSize]byte

func zero(data []byte) bool { return bytes.Equal(data, zeros[:len(data)]) }

// keeper decides which unsynced sectors of one file survive.
type keeper struct {
	random *rand.Rand
	// chance is of each sector, or of each block as a whole.
	chance float64
	blocks bool
}

// newKeeper draws how much of a file survives; nil draws nothing.
func newKeeper(random *rand.Rand) keeper {
	if random == nil {
		return keeper{}
	}
	k := keeper{random: random, blocks: random.IntN(2) == 0}
	switch draw := random.Float64(); {
	case draw < 0.35:
	case draw < 0.5:
		k.chance = 1
	default:
		k.chance = random.Float64()
	}
	return k
}

func (k keeper) draw() bool {
	switch k.chance {
	case 0:
		return false
	case 1:
		return true
	}
	return k.random.Float64() < k.chance
}

// size draws the size after a power failure. That of a file that grew may be any
// number of its new sectors: names and sizes are written by themselves.
func (k keeper) size(synced, live int64) int64 {
	low := (synced + sectorSize - 1) / sectorSize
	high := live / sectorSize
	switch {
	case !k.draw():
		return synced
	case k.chance == 1 || live <= synced || high <= low || k.random.IntN(2) == 0:
		return live
	}
	return (low + k.random.Int64N(high-low)) * sectorSize
}

// lose brings the durable contents back, with what else the keeper lets survive, and
// makes that the live and the durable contents.
func (c *contents) lose(file *os.File, k keeper, loss *Loss) error {
	size := k.size(c.synced, c.size)
	end := max(c.synced, c.size)
	if err := file.Truncate(end); err != nil {
		return err
	}
	lost := loss.Sectors
	for _, block := range sortedKeys(c.old) {
		if err := c.loseBlock(file, block, c.old[block], end, k, loss); err != nil {
			return err
		}
	}
	// Of a file that grew, the blocks past the synced ones held nothing, or zeros.
	for block := blocks(c.synced); block < blocks(min(size, c.size)); block++ {
		if _, ok := c.old[block]; ok {
			continue
		}
		if err := c.loseBlock(file, block, nil, end, k, loss); err != nil {
			return err
		}
	}
	if cut := c.size - max(size, c.synced); cut > 0 {
		loss.Sectors += int((cut + sectorSize - 1) / sectorSize)
	}
	if loss.Sectors > lost || size != c.size {
		loss.Files++
	}
	if err := file.Truncate(size); err != nil {
		return err
	}
	c.size, c.allocated = size, size
	c.reset()
	return nil
}

// loseBlock brings back the sectors of one block that do not survive. nothing of it
// is written from the offset end on.
func (c *contents) loseBlock(file *os.File, block int64, old []byte, end int64, k keeper, loss *Loss) error {
	live, err := readBlock(file, block, end)
	if err != nil {
		return err
	}
	if old == nil {
		old = zeros[:]
	}
	if live == nil {
		live = make([]byte, blockSize)
	}
	keep := k.draw()
	changed := false
	for at := 0; at < blockSize; at += sectorSize {
		now, then := live[at:at+sectorSize], old[at:at+sectorSize]
		if bytes.Equal(now, then) {
			continue
		}
		if k.blocks && keep || !k.blocks && k.draw() {
			loss.SectorsKept++
			continue
		}
		loss.Sectors++
		copy(now, then)
		changed = true
	}
	if !changed {
		return nil
	}
	start := block * blockSize
	_, err = file.WriteAt(live[:min(blockSize, end-start)], start)
	return err
}
