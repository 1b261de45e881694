package logstore

import (
	"fmt"

	tidemark "tidemark"
)

// Kind names the library that keeps the Raft log.
type Kind string

const (
	// WAL keeps the log in preallocated segment files (hashicorp/raft-wal).
	WAL Kind = "wal"
	// BoltDB keeps the log in one B+tree file (hashicorp/raft-boltdb). The file
	// never shrinks, and appends slow down while it holds many free pages.
	BoltDB Kind = "boltdb"
)

// ParseKind returns the kind with the name, or an *tidemark.InvalidError.
func ParseKind(name string) (Kind, error) {
	switch k := Kind(name); k {
	case WAL, BoltDB:
		return k, nil
	}
	return "", tidemark.Invalid("log_store", "is %q, but must be %s or %s", name, WAL, BoltDB)
}

// code is the kind's byte in the mark file.
func (k Kind) code() (byte, error) {
	switch k {
	case WAL:
		return 1, nil
	case BoltDB:
		return 2, nil
	}
	return 0, fmt.Errorf("logstore: unknown kind %q", string(k))
}

func kindOf(code byte) Kind {
	switch code {
	case 1:
		return WAL
	case 2:
		return BoltDB
	}
	return Kind(fmt.Sprintf("unknown kind %d", code))
}
