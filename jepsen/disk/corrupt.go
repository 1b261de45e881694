//go:build linux

package disk

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// savedPrefix begins the names of what Save keeps in the graveyard.
const savedPrefix = "saved-"

// Saved is the contents of a file at one moment.
type Saved struct {
	// Path is the file's, relative to the mount.
	Path string
	// copy is where they are kept in the backing directory.
	copy string
}

// FlipBit changes one bit of one file that matches the pattern, for good: a power
// failure does not bring it back.
func (d *Disk) FlipBit(pattern string, offset int64, seed uint64) (Damage, error) {
	return d.damage(pattern, seed, func(file *os.File, c *contents, random *rand.Rand) (Damage, error) {
		if offset < 0 {
			offset = somewhere(random, c.size)
		}
		damage := Damage{Offset: offset, Bit: uint(random.IntN(8))}
		var b [1]byte
		if _, err := file.ReadAt(b[:], offset); err != nil {
			return damage, fmt.Errorf("read the byte at %d of %d: %w", offset, c.size, err)
		}
		b[0] ^= 1 << damage.Bit
		if old, ok := c.old[offset/blockSize]; ok {
			if old == nil {
				old = make([]byte, blockSize)
				c.old[offset/blockSize] = old
			}
			old[offset%blockSize] ^= 1 << damage.Bit
		}
		_, err := file.WriteAt(b[:], offset)
		return damage, err
	})
}

// Truncate cuts one file that matches the pattern, for good.
func (d *Disk) Truncate(pattern string, size int64, seed uint64) (Damage, error) {
	return d.damage(pattern, seed, func(file *os.File, c *contents, random *rand.Rand) (Damage, error) {
		if size < 0 {
			size = somewhere(random, c.size)
		}
		if size > c.size {
			return Damage{}, fmt.Errorf("size %d is more than the file has, %d", size, c.size)
		}
		d.space.take(size - c.allocated)
		c.size, c.allocated = size, size
		c.reset()
		return Damage{Offset: size}, file.Truncate(size)
	})
}

// somewhere is an offset in a file of the size. Half of the time it is anywhere, and
// otherwise each order of magnitude has the same chance, because a file that a database
// made in advance is full at its beginning only.
func somewhere(random *rand.Rand, size int64) int64 {
	if random.IntN(2) == 0 {
		return random.Int64N(size)
	}
	return min(size-1, int64(math.Exp(random.Float64()*math.Log(float64(size)))))
}

// damage calls f with one file that matches the pattern and is not empty, while
// nothing else happens.
func (d *Disk) damage(pattern string, seed uint64, f func(*os.File, *contents, *rand.Rand) (Damage, error)) (Damage, error) {
	random := rand.New(rand.NewPCG(seed, 2))
	d.gate.Lock()
	paths := []string{}
	inodes := []*inode{}
	d.walk(func(path string, ino *inode) {
		if ino.isFile() && ino.contents.size > 0 && Match(pattern, path) {
			paths, inodes = append(paths, path), append(inodes, ino)
		}
	})
	if len(paths) == 0 {
		d.gate.Unlock()
		return Damage{}, fmt.Errorf("no file with contents matches %q: %w", pattern, os.ErrNotExist)
	}
	at := random.IntN(len(paths))
	damage, err := d.change(inodes[at], func(file *os.File, c *contents) (Damage, error) { return f(file, c, random) })
	d.gate.Unlock()
	damage.Path = paths[at]
	d.forgetPages(inodes[at])
	if err != nil {
		return damage, fmt.Errorf("damage %s: %w", damage.Path, err)
	}
	return damage, nil
}

// change calls f with an open file. gate is held alone.
func (d *Disk) change(ino *inode, f func(*os.File, *contents) (Damage, error)) (Damage, error) {
	file, err := os.OpenFile(d.home(ino), os.O_RDWR, 0)
	if err != nil {
		return Damage{}, err
	}
	defer file.Close()
	return f(file, &ino.contents)
}

// forgetPages makes the kernel read the contents anew, also where they are mapped.
// No lock is held: the kernel waits for reads that are under way.
func (d *Disk) forgetPages(ino *inode) {
	d.names.RLock()
	var elements []link
	for at := ino; at != d.root; {
		found := false
		for l := range at.links {
			elements, at, found = append(elements, l), l.dir, true
			break
		}
		if !found {
			break
		}
	}
	d.names.RUnlock()
	known := d.view.EmbeddedInode()
	for i := len(elements) - 1; i >= 0 && known != nil; i-- {
		known = known.GetChild(elements[i].name)
	}
	if known == nil {
		return
	}
	if n, ok := known.Operations().(*node); ok && n.ino == ino {
		// ENOENT is that the kernel knows nothing of the inode any more.
		if errno := known.NotifyContent(0, 0); errno != 0 && errno != syscall.ENOENT {
			d.logger.Error("the kernel keeps old pages", "path", elements[0].name, "error", errno)
		}
	}
}

// find returns the file at the path. gate is held alone.
func (d *Disk) find(path string) (*inode, error) {
	var found *inode
	d.walk(func(p string, ino *inode) {
		if p == path && ino.isFile() {
			found = ino
		}
	})
	if found == nil {
		return nil, &os.PathError{Op: "find", Path: path, Err: os.ErrNotExist}
	}
	return found, nil
}

// Save remembers the live contents of the file, until Close.
func (d *Disk) Save(path string) (*Saved, error) {
	d.gate.Lock()
	defer d.gate.Unlock()
	ino, err := d.find(path)
	if err != nil {
		return nil, err
	}
	saved := &Saved{Path: path, copy: filepath.Join(d.backing, graveyard, savedPrefix+strconv.FormatInt(d.saved.Add(1), 10))}
	return saved, copyFile(saved.copy, d.home(ino))
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if closed := target.Close(); err == nil {
		err = closed
	}
	return err
}

// RollBack brings the contents back, for good, in the file that has the path now.
func (d *Disk) RollBack(saved *Saved) error {
	d.gate.Lock()
	ino, err := d.find(saved.Path)
	if err == nil {
		_, err = d.change(ino, func(file *os.File, c *contents) (Damage, error) {
			return Damage{}, rollBack(file, c, saved.copy)
		})
	}
	d.gate.Unlock()
	if err != nil {
		return fmt.Errorf("roll back %s: %w", saved.Path, err)
	}
	d.forgetPages(ino)
	return nil
}

func rollBack(file *os.File, c *contents, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := file.Truncate(0); err != nil {
		return err
	}
	size, err := io.Copy(file, source)
	c.size, c.allocated = size, max(c.allocated, size)
	c.reset()
	return err
}
