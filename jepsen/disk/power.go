//go:build linux

package disk

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// PowerFailure takes what was not synced: each unsynced sector and operation on
// names survives or not as the seed decides, within what the package promises.
func (d *Disk) PowerFailure(seed uint64) (Loss, error) {
	return d.powerFailure(rand.New(rand.NewPCG(seed, 1)))
}

// LoseUnsynced is the power failure after which nothing unsynced survives.
func (d *Disk) LoseUnsynced() (Loss, error) { return d.powerFailure(nil) }

func (d *Disk) powerFailure(random *rand.Rand) (Loss, error) {
	d.gate.Lock()
	defer d.gate.Unlock()
	d.names.Lock()
	defer d.names.Unlock()
	var loss Loss
	if d.closed {
		return loss, os.ErrClosed
	}
	// From here on, nothing that is open works on.
	d.epoch++
	d.powerFailures++
	before := d.allocated()
	d.loseNames(random, &loss)
	files, err := d.rebuild()
	if err != nil {
		return loss, fmt.Errorf("bring back the names of %s: %w", d.backing, err)
	}
	for _, ino := range files {
		if ino.isFile() && ino.contents.changed {
			if err := d.loseContents(ino, random, &loss); err != nil {
				return loss, fmt.Errorf("bring back %s: %w", d.path(ino), err)
			}
		}
	}
	d.space.take(d.allocated() - before)
	return loss, nil
}

func (d *Disk) loseContents(ino *inode, random *rand.Rand, loss *Loss) error {
	file, err := os.OpenFile(d.home(ino), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return ino.contents.lose(file, newKeeper(random), loss)
}

// rebuild makes the durable names the live ones, in the backing directory too, and
// returns all files and symbolic links in the order of their creation. The kernel
// gets to know all of them as new inodes.
func (d *Disk) rebuild() ([]*inode, error) {
	files, dirs := d.durable()
	modes := map[*inode]os.FileMode{}
	for _, ino := range files {
		if ino.buried {
			continue
		}
		home := d.home(ino)
		ino.buried = true
		if err := os.Rename(home, d.home(ino)); err != nil {
			return nil, err
		}
	}
	for _, dir := range dirs {
		modes[dir] = 0o755
		if info, err := os.Stat(d.home(dir)); err == nil {
			modes[dir] = info.Mode().Perm()
		}
	}
	if err := d.wipe(); err != nil {
		return nil, err
	}
	for _, ino := range append(slices.Clone(files), dirs...) {
		ino.claims = 0
		clear(ino.links)
	}
	if err := d.restore(d.root, d.backing, modes); err != nil {
		return nil, err
	}
	for _, ino := range append(slices.Clone(files), dirs...) {
		ino.id = d.nextID()
	}
	return files, d.clearGraveyard()
}

// durable returns what can be reached from the root by durable names.
func (d *Disk) durable() (files, dirs []*inode) {
	seen := map[*inode]bool{}
	var below func(dir *inode)
	below = func(dir *inode) {
		for _, child := range dir.durable {
			switch {
			case seen[child]:
				continue
			case child.isDir():
				dirs = append(dirs, child)
				below(child)
			default:
				files = append(files, child)
			}
			seen[child] = true
		}
	}
	below(d.root)
	older := func(a, b *inode) int { return cmp.Compare(a.id, b.id) }
	slices.SortFunc(files, older)
	slices.SortFunc(dirs, older)
	return files, dirs
}

// wipe removes all from the backing directory but the graveyard.
func (d *Disk) wipe() error {
	entries, err := os.ReadDir(d.backing)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == graveyard {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.backing, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// restore makes the durable names of the directory the live ones.
func (d *Disk) restore(dir *inode, home string, modes map[*inode]os.FileMode) error {
	clear(dir.live)
	for name, child := range dir.durable {
		path := filepath.Join(home, name)
		var err error
		switch {
		case child.isDir():
			err = os.Mkdir(path, modes[child])
		case child.buried:
			err = os.Rename(d.home(child), path)
			child.buried = false
		default:
			err = os.Link(d.home(child), path)
		}
		if err != nil {
			return err
		}
		d.put(dir, name, child)
		child.claims++
		if child.isDir() {
			if err := d.restore(child, path, modes); err != nil {
				return err
			}
		}
	}
	return nil
}

// allocated is the space that all files with names take up.
func (d *Disk) allocated() (sum int64) {
	seen := map[*inode]bool{}
	d.walk(func(_ string, ino *inode) {
		if ino.isFile() && !seen[ino] {
			seen[ino] = true
			sum += ino.contents.allocated
		}
	})
	return sum
}
