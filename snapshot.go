package tidemark

import "io"

// SnapshotReader streams a consistent copy of a state machine, as of Applied. The
// stream carries its own checksums. Close releases what keeps the copy alive.
type SnapshotReader interface {
	io.ReadCloser
	Applied() Applied
	// Size is the exact number of bytes that Read will deliver from the start.
	Size() int64
}

// SnapshotWriter receives the stream of a SnapshotReader and builds a new state
// beside the present one, which it does not touch.
type SnapshotWriter interface {
	io.Writer
	// Finish verifies and syncs all that was written. An error means that the
	// stream was damaged or cut; the writer is then to be aborted.
	Finish() (Applied, error)
	// Abort removes what was written. It is a no-op after a successful install.
	Abort() error
}
