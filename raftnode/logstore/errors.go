package logstore

import (
	"errors"
	"fmt"
	"syscall"

	tidemark "tidemark"
)

// ErrOtherKind is returned by Open when the directory holds the other kind of
// log. Nothing was changed.
var ErrOtherKind = errors.New("directory holds another kind of log store")

// ErrSnapshotTooOld is returned by SnapshotInstalled when the log starts after
// the entry that would follow the snapshot. Nothing was changed.
var ErrSnapshotTooOld = errors.New("snapshot is older than the start of the log")

// corrupt says what is wrong with a file, and what to do about it.
func corrupt(path, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s; the file was left as it is: rebuild this node from the others"+
		" (remove the member, empty its data directory, let it join again)",
		tidemark.ErrCorrupt, path, fmt.Sprintf(format, args...))
}

// translate gives an error of the operating system the project's word for it.
func translate(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", tidemark.ErrDiskFull, err)
	}
	return err
}
