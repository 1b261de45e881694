package exit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"tidemark"
)

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, OK},
		{errors.New("anything"), Failed},
		{context.DeadlineExceeded, Failed},
		{tidemark.ErrInvalid, Failed},
		{fmt.Errorf("flag: %w", Usagef("no")), Usage},
		{fmt.Errorf("open: %w", tidemark.ErrCorrupt), Broken},
		{tidemark.ErrNewerFormat, Broken},
		{tidemark.ErrForeignData, Broken},
		{tidemark.ErrDiskFull, DiskFull},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, DiskFull},
		// A log that could not be written for want of room is not damaged.
		{fmt.Errorf("%w: %w", tidemark.ErrCorrupt, tidemark.ErrDiskFull), DiskFull},
	} {
		if got := Status(test.err); got != test.want {
			t.Errorf("Status(%v) = %d, want %d", test.err, got, test.want)
		}
	}
}

func TestNextStepForWhatOperatorsMeet(t *testing.T) {
	for _, err := range []error{
		Usagef("x"), tidemark.ErrCorrupt, tidemark.ErrDiskFull, tidemark.ErrForeignData, tidemark.ErrNewerFormat,
		tidemark.ErrNoLeader, tidemark.ErrOutcomeUnknown, os.NewSyscallError("bind", syscall.EADDRINUSE),
	} {
		if NextStep(fmt.Errorf("wrapped: %w", err)) == "" {
			t.Errorf("nothing to do about %v", err)
		}
	}
}
