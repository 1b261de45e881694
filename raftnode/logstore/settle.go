package logstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// settle makes everything durable that was found in the files. A process that was
// killed may have written what it had no time to sync. Its successor finds that in the
// page cache like all the rest, and Raft counts whatever is there as stored, for a
// majority too: so it must not be there any less after a loss of power.
func settle(o Options) error {
	for _, root := range []string{o.logPath(), filepath.Join(o.Dir, stableName)} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return o.sync(path)
		})
		if err != nil {
			return err
		}
	}
	return o.sync(o.Dir)
}

// syncFile makes a file, or the names in a directory, durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
