//go:build linux

package disk

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Disk is a mounted file system. It is the Control of itself.
//
// Locks are taken in the order gate, names, inode.mu, space.mu.
type Disk struct {
	backing, mountpoint string
	options             Options
	logger              *slog.Logger
	server              *fuse.Server
	lastID              atomic.Uint64

	// gate is held shared by each operation, and alone by what changes the disk below
	// its users. epoch counts power failures: inodes and handles of an older one
	// answer EIO.
	gate          sync.RWMutex
	epoch         uint64
	closed        bool
	powerFailures int

	// names guards the tree, and log, the unsynced operations on it, oldest first.
	names sync.RWMutex
	root  *inode
	log   []operation

	// moves stands for all moves of directories from one directory to another, which
	// keep their order.
	moves *inode
	// view is the root as the kernel knows it.
	view *node

	rules  rules
	space  space
	totals totals
	saved  atomic.Int64
}

// Mount shows the directory backing at mountpoint, through a disk. Both exist.
// What backing holds already counts as durable. The live contents are always
// ordinary files in backing. It needs root.
func Mount(backing, mountpoint string, o Options) (*Disk, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	o.UnsyncedBytes = cmp.Or(o.UnsyncedBytes, 64<<20)
	o.UnsyncedNames = cmp.Or(o.UnsyncedNames, 10_000)
	d := &Disk{backing: backing, mountpoint: mountpoint, options: o, logger: o.Logger}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	d.rules.seed(o.Seed)
	d.root, d.moves = newInode(d.nextID(), syscall.S_IFDIR), newInode(0, syscall.S_IFDIR)
	if err := d.clearGraveyard(); err != nil {
		return nil, err
	}
	if err := d.load(d.root, backing, map[uint64]*inode{}); err != nil {
		return nil, err
	}
	if err := d.mount(); err != nil {
		return nil, fmt.Errorf("mount a disk at %s: %w", mountpoint, err)
	}
	return d, nil
}

// clearGraveyard leaves what Save made, or nothing in a new mount.
func (d *Disk) clearGraveyard() error {
	dir := filepath.Join(d.backing, graveyard)
	if d.server == nil {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		return os.Mkdir(dir, 0o700)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), savedPrefix) {
			errs = append(errs, os.Remove(filepath.Join(dir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}

// load reads the names below the directory dir. files finds a file by its number in
// the file system of dir, for hard links.
func (d *Disk) load(ino *inode, dir string, files map[uint64]*inode) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if ino == d.root && entry.Name() == graveyard {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		child := files[st.Ino]
		if child == nil {
			child = newInode(d.nextID(), st.Mode)
			child.contents = newContents(st.Size)
			files[st.Ino] = child
		}
		child.links[link{ino, entry.Name()}] = struct{}{}
		child.claims++
		ino.live[entry.Name()], ino.durable[entry.Name()] = child, child
		if child.isDir() {
			if err := d.load(child, path, files); err != nil {
				return err
			}
		}
	}
	return nil
}

// DataDir is the mountpoint.
func (d *Disk) DataDir() string { return d.mountpoint }

// Heal ends all injections and the shortage of space. Contents stay as they are.
func (d *Disk) Heal() {
	d.rules.heal()
	d.space.heal()
}

// Stats counts what was asked of the disk since it was mounted.
func (d *Disk) Stats() Stats {
	d.gate.RLock()
	defer d.gate.RUnlock()
	d.names.RLock()
	defer d.names.RUnlock()
	s := Stats{Files: map[string]Counts{}, UnsyncedNames: len(d.log), PowerFailures: d.powerFailures}
	s.Failed, s.Stalled = d.rules.counts()
	d.totals.mu.Lock()
	s.Counts = d.totals.counts
	d.totals.mu.Unlock()
	d.walk(func(path string, ino *inode) {
		ino.mu.Lock()
		defer ino.mu.Unlock()
		s.Files[path] = ino.counts
		if ino.contents.changed {
			s.UnsyncedFiles++
		}
	})
	return s
}

// walk calls f with all paths of all inodes but the root, in order.
func (d *Disk) walk(f func(path string, ino *inode)) {
	var below func(dir *inode, prefix string)
	below = func(dir *inode, prefix string) {
		for _, name := range sortedKeys(dir.live) {
			child := dir.live[name]
			f(filepath.Join(prefix, name), child)
			if child.isDir() {
				below(child, filepath.Join(prefix, name))
			}
		}
	}
	below(d.root, "")
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
