package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tidemark"
)

// diskInterval is how often free space is looked at.
const diskInterval = time.Second

// disk watches the free space of the file system that holds a directory.
type disk struct {
	dir     string
	reserve uint64
	// free can be replaced by tests.
	free func(dir string) (uint64, error)
}

func newDisk(dir string, reserve uint64) *disk {
	return &disk{dir: dir, reserve: reserve, free: freeBytes}
}

// freeBytes is what a process without privileges may still write. The directory
// may not exist yet.
func freeBytes(dir string) (uint64, error) {
	var stat unix.Statfs_t
	for {
		err := unix.Statfs(dir, &stat)
		if err == nil {
			return stat.Bavail * uint64(stat.Bsize), nil
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return 0, fmt.Errorf("free space of %s: %w", dir, err)
		}
		dir = parent
	}
}

// usedBytes is the sum of the files below the directory. Files that vanish
// meanwhile do not count.
func usedBytes(dir string) (uint64, error) {
	var used uint64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			used += uint64(info.Size())
		}
		return err
	})
	return used, err
}

// usage is for the API's Status.
func (d *disk) usage() (used, free uint64, err error) {
	if free, err = d.free(d.dir); err != nil {
		return 0, 0, err
	}
	used, err = usedBytes(d.dir)
	return used, free, err
}

// resume is the free space with which a node that stepped aside comes back. It is
// half as much again as the reserve, so that the node does not come and go with every file.
func (d *disk) resume() uint64 { return d.reserve + d.reserve/2 }

// low returns an error that wraps tidemark.ErrDiskFull if less than want is free.
func (d *disk) low(want uint64) error {
	free, err := d.free(d.dir)
	if err != nil {
		return err
	}
	if free < want {
		return fmt.Errorf("%w: %s has %d MiB free, %d MiB are wanted (--disk-reserve)", tidemark.ErrDiskFull, d.dir, free>>20, want>>20)
	}
	return nil
}

// waitUntil looks at the disk again and again until done accepts what low says, or ctx ends.
func (d *disk) waitUntil(ctx context.Context, want uint64, done func(error) bool) error {
	ticker := time.NewTicker(diskInterval)
	defer ticker.Stop()
	for {
		if done(d.low(want)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
