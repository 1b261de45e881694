package raftnode

import (
	"encoding/binary"
	"fmt"

	"tidemark"
)

// The data of a command entry in the Raft log:
//
//	offset  size  what
//	0       1     version, 1
//	1       8     fence: the term of the leadership that proposed the entry, big-endian
//	9       n     the commands, as Config.EncodeEntry made them
//
// An entry whose fence is not its own term in the log is void: every replica
// applies Config.Noop in its place, since both numbers are in the log. It comes
// about when a proposal is handed to Raft at the very moment in which this node
// loses leadership and wins it again. Without the fence such an entry could be
// applied although one that the same caller had proposed before it was refused.
// It also voids an entry that a leader stamps with a term that it does not lead
// (hashicorp/raft #695).
const (
	entryVersion   = 1
	entryHeadBytes = 9
	// envelopeBytes and perCommandBytes bound what EncodeEntry adds to the commands.
	envelopeBytes   = 64
	perCommandBytes = 8
	// maxCommandBytes is the largest command that fits into one entry.
	maxCommandBytes = tidemark.MaxEntryBytes - entryHeadBytes - envelopeBytes - perCommandBytes
)

func sealEntry(term uint64, commands []byte) []byte {
	data := make([]byte, 0, entryHeadBytes+len(commands))
	data = append(data, entryVersion)
	data = binary.BigEndian.AppendUint64(data, term)
	return append(data, commands...)
}

func openEntry(data []byte) (fence uint64, commands []byte, err error) {
	if len(data) < entryHeadBytes {
		return 0, nil, fmt.Errorf("%w: the entry has %d bytes, its head alone %d", tidemark.ErrCorrupt, len(data), entryHeadBytes)
	}
	if v := data[0]; v > entryVersion {
		return 0, nil, fmt.Errorf("%w: the entry has version %d, this node knows %d", tidemark.ErrNewerFormat, v, entryVersion)
	} else if v == 0 {
		return 0, nil, fmt.Errorf("%w: the entry has version 0", tidemark.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(data[1:]), data[entryHeadBytes:], nil
}
