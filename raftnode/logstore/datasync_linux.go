package logstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes the file's bytes durable. It skips the time stamps, so that it
// does not wait for the file system's journal when bytes were only replaced.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			if err != nil {
				return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
			}
			return nil
		}
	}
}
