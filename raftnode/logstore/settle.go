package logstore

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// settle makes everything durable that was found in the files. A process that was
// killed may have written what it had no time to sync. Its successor finds that in the
// page cache like all the rest, and Raft counts whatever is there as stored, for a
// majority too: so it must not be there any less after a loss of power.
//
// To sync is not enough. If the predecessor ended because a sync failed, the kernel has
// marked the pages as clean without having written them: they show what was to be written
// as long as the power stays, and no later sync of them writes anything (Rebello et al.,
// "Can Applications Recover from fsync Failures?", USENIX ATC 2020). So what may have been
// in such a sync is written once more.
func settle(o Options) error {
	if err := rewrite(o); err != nil {
		return err
	}
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

// rewrite writes what a failed sync may have left in the page cache alone: all of the last
// segment of the write-ahead log, since segments before it were synced when they were
// full; and the first pages of a bbolt file, which say what is in force: those that they
// refer to are synced before these are written.
func rewrite(o Options) error {
	bolts := []string{filepath.Join(o.Dir, stableName)}
	switch o.Kind {
	case WAL:
		segments, err := filepath.Glob(filepath.Join(o.logPath(), "*.wal"))
		if err != nil {
			return err
		}
		newest := ""
		for _, segment := range segments {
			// The name ends with the number of the segment, by which a later one is higher.
			if newest == "" || numberOf(segment) > numberOf(newest) {
				newest = segment
			}
		}
		if newest != "" {
			if err := rewriteFile(newest, -1); err != nil {
				return err
			}
		}
		others, err := filepath.Glob(filepath.Join(o.logPath(), "*.db"))
		if err != nil {
			return err
		}
		bolts = append(bolts, others...)
	case BoltDB:
		bolts = append(bolts, o.logPath())
	}
	for _, bolt := range bolts {
		if err := rewriteFile(bolt, 2*int64(os.Getpagesize())); err != nil {
			return err
		}
	}
	return nil
}

// numberOf is the last part of a segment's name, in digits of one length.
func numberOf(segment string) string {
	name := strings.TrimSuffix(filepath.Base(segment), ".wal")
	return name[strings.LastIndexByte(name, '-')+1:]
}

// rewriteBytes is how much is read and written at a time. So many zeros in a row are in no
// entry, as a message has at most 256 KiB of payload between what is not zero: they are
// the rest of a segment, which was never written.
const rewriteBytes = 1 << 20

// rewriteFile writes the first bytes of a file, or all if there is no limit, as they are.
// Nobody else writes to it meanwhile. A file that is not there is left alone.
func rewriteFile(path string, limit int64) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffer, zeros := make([]byte, rewriteBytes), make([]byte, rewriteBytes)
	for at := int64(0); limit < 0 || at < limit; {
		part := buffer
		if limit >= 0 {
			part = buffer[:min(int64(len(buffer)), limit-at)]
		}
		n, readErr := f.ReadAt(part, at)
		if n == rewriteBytes && bytes.Equal(part, zeros) {
			return nil
		}
		if _, err := f.WriteAt(part[:n], at); err != nil {
			return err
		}
		at += int64(n)
		if readErr == io.EOF {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
	return nil
}

// syncFile makes a file, or the names in a directory, durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
