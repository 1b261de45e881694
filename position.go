package tidemark

import "encoding/binary"

// Position is a place in the log of the cluster: the index of a Raft entry. A
// node that has applied a position holds the effect of every write up to it.
// Clients carry it as an opaque token.
type Position uint64

const positionVersion = 1

// Token encodes the position for clients: a version byte, then the index as a
// big-endian u64.
func (p Position) Token() []byte {
	return binary.BigEndian.AppendUint64([]byte{positionVersion}, uint64(p))
}

// ParsePosition decodes a token. An empty token is position 0, which every node
// has applied. It reports an *InvalidError that names field for anything that
// Token did not make.
func ParsePosition(field string, token []byte) (Position, error) {
	if len(token) == 0 {
		return 0, nil
	}
	if len(token) != 9 || token[0] != positionVersion {
		return 0, Invalid(field, "is not a position token of this cluster")
	}
	return Position(binary.BigEndian.Uint64(token[1:])), nil
}

// EntryKind tells what a committed log entry holds.
type EntryKind uint8

const (
	// EntryCommands holds commands for the state machine.
	EntryCommands EntryKind = iota + 1
	// EntryMembership holds the cluster's members, in an encoding that only raftnode reads.
	EntryMembership
)

// Entry is one committed entry of the Raft log.
type Entry struct {
	// Index is its place in the log, starting at 1; Term is that of the leader that proposed it.
	Index, Term uint64
	Kind        EntryKind
	Data        []byte
}

// Applied says how far a state machine has come. It is written in the same batch
// as the data that it speaks of, so it is never ahead of it or behind.
type Applied struct {
	// Index and Term are those of the last applied entry that reached the state machine.
	Index, Term uint64
	// Membership is the Data of the last applied EntryMembership, and
	// MembershipIndex its index.
	Membership      []byte
	MembershipIndex uint64
	// InstalledIndex is the index at which the state was received as a snapshot
	// from another node, or 0. It explains a log that ends before Index.
	InstalledIndex uint64
}

// Proposal is the outcome of a command that was committed and applied.
type Proposal struct {
	// Position is that of the entry that held the command.
	Position Position
	// Result is what the state machine answered to the command.
	Result any
}
