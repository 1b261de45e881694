package raftnode

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"

	"tidemark/raftnode/logstore"
)

// LogEntry is what identifies an entry of the Raft log: on all nodes, entries with
// the same index and term are the same.
type LogEntry struct {
	Index, Term uint64
	// Type is command, noop, barrier or configuration.
	Type string
	// Bytes is the size of its data and extensions.
	Bytes int
	// Hash is the SHA-256 of the entry's type (one byte), the number of bytes of its
	// data (u64, big-endian), its data and its extensions.
	Hash [sha256.Size]byte
}

// ReadLog calls visit for each entry of the log of a node that does not run, oldest
// first, and changes nothing. It reads what the node would find at its start: see
// logstore.Read.
func (d *Directory) ReadLog(visit func(LogEntry) error) error {
	mustExist, err := d.registered()
	if err != nil {
		return err
	}
	return logstore.Read(logstore.Options{
		Kind: d.id.LogStore, Dir: filepath.Join(d.path, raftDir), MustExist: mustExist,
	}, func(l *raft.Log) error { return visit(logEntry(l)) })
}

func logEntry(l *raft.Log) LogEntry {
	e := LogEntry{Index: l.Index, Term: l.Term, Type: entryType(l.Type), Bytes: len(l.Data) + len(l.Extensions)}
	head := binary.BigEndian.AppendUint64([]byte{byte(l.Type)}, uint64(len(l.Data)))
	hash := sha256.New()
	for _, part := range [][]byte{head, l.Data, l.Extensions} {
		hash.Write(part) // never fails
	}
	hash.Sum(e.Hash[:0])
	return e
}

func entryType(t raft.LogType) string {
	switch t {
	case raft.LogCommand:
		return "command"
	case raft.LogNoop:
		return "noop"
	case raft.LogBarrier:
		return "barrier"
	case raft.LogConfiguration:
		return "configuration"
	}
	return fmt.Sprintf("type %d", t)
}
