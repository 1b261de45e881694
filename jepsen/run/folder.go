//go:build linux

package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tidemark/jepsen/disk"
)

// takeFolder makes the folder of a run and keeps other runs out of it until release is
// called or this process ends. It takes away what an earlier run left in the way: the
// disks of harnesses that were killed, wherever they are, and the nodes of this
// folder, whose data would otherwise be found again by nodes of the same names.
func takeFolder(path string) (release func() error, err error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	folder, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, folder.Close())
		}
	}()
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another run writes to %s: %w", path, err)
	}
	// Only root can have mounted disks, or can unmount them.
	if os.Geteuid() == 0 {
		if err := disk.CleanUp("/"); err != nil {
			return nil, err
		}
	}
	return folder.Close, os.RemoveAll(filepath.Join(path, "nodes"))
}
