package peer

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/hashicorp/raft"
)

// The first byte of a message in raft's net_transport.go.
const (
	rpcAppendEntries uint8 = iota
	rpcRequestVote
	rpcInstallSnapshot
	rpcTimeoutNow
	rpcRequestPreVote
)

func newCommand(kind byte) any {
	switch kind {
	case rpcAppendEntries:
		return &raft.AppendEntriesRequest{}
	case rpcRequestVote:
		return &raft.RequestVoteRequest{}
	case rpcInstallSnapshot:
		return &raft.InstallSnapshotRequest{}
	case rpcTimeoutNow:
		return &raft.TimeoutNowRequest{}
	case rpcRequestPreVote:
		return &raft.RequestPreVoteRequest{}
	}
	return nil
}

// invalidRPCError is a message that must not reach Raft.
type invalidRPCError struct{ err error }

func (e *invalidRPCError) Error() string { return "invalid Raft message: " + e.err.Error() }
func (e *invalidRPCError) Unwrap() error { return e.err }

func invalidRPC(format string, args ...any) error {
	return &invalidRPCError{fmt.Errorf(format, args...)}
}

const (
	// maxAddressBytes bounds an address: a DNS name has up to 253 bytes, and a port follows.
	maxAddressBytes = 512
	// maxCounter bounds terms and indexes. Raft adds to them without looking, and
	// none is reached by counting.
	maxCounter = math.MaxInt64
	// maxServers bounds a configuration.
	maxServers = 1024
	// maxSnapshotBytes leaves room for sums with a size.
	maxSnapshotBytes = 1 << 50
)

// validate reports what in a decoded message could make Raft panic, or could not
// come from a node of this version that runs as it should. peer is the node at
// the other end of the connection.
func validate(command any, peer string) error {
	header := command.(raft.WithRPCHeader).GetRPCHeader()
	if string(header.ID) != peer {
		return fmt.Errorf("header's id is %.64q on a connection of node %q", header.ID, peer)
	}
	if len(header.Addr) == 0 || len(header.Addr) > maxAddressBytes {
		return fmt.Errorf("header's address has %d bytes; limit is 1 to %d", len(header.Addr), maxAddressBytes)
	}
	switch c := command.(type) {
	case *raft.AppendEntriesRequest:
		return validateAppend(c)
	case *raft.RequestVoteRequest:
		return errors.Join(
			counter("term", c.Term), counter("last log index", c.LastLogIndex), counter("last log term", c.LastLogTerm),
			notAbove("last log term", c.LastLogTerm, "term", c.Term))
	case *raft.RequestPreVoteRequest:
		return errors.Join(
			counter("term", c.Term), counter("last log index", c.LastLogIndex), counter("last log term", c.LastLogTerm),
			notAbove("last log term", c.LastLogTerm, "term", c.Term))
	case *raft.InstallSnapshotRequest:
		return validateSnapshot(c)
	case *raft.TimeoutNowRequest:
		return nil
	}
	return fmt.Errorf("unknown message %T", command)
}

func counter(name string, v uint64) error {
	if v > maxCounter {
		return fmt.Errorf("%s is %d; limit is %d", name, v, uint64(maxCounter))
	}
	return nil
}

func notAbove(aName string, a uint64, bName string, b uint64) error {
	if a > b {
		return fmt.Errorf("%s is %d, above the %s, %d", aName, a, bName, b)
	}
	return nil
}

// validateAppend checks that the entries follow each other and what they follow,
// with terms that never run backwards nor past the leader's.
func validateAppend(a *raft.AppendEntriesRequest) error {
	err := errors.Join(
		counter("term", a.Term), counter("previous index", a.PrevLogEntry),
		counter("commit index", a.LeaderCommitIndex), notAbove("previous term", a.PrevLogTerm, "term", a.Term))
	if err != nil {
		return err
	}
	index, term := a.PrevLogEntry, a.PrevLogTerm
	for i, e := range a.Entries {
		if e == nil {
			return fmt.Errorf("entry %d of %d is missing", i, len(a.Entries))
		}
		if index++; e.Index != index {
			return fmt.Errorf("entry %d of %d has index %d, not %d", i, len(a.Entries), e.Index, index)
		}
		if e.Term < term || e.Term > a.Term {
			return fmt.Errorf("entry %d has term %d, not within %d and %d", e.Index, e.Term, term, a.Term)
		}
		term = e.Term
		if err := validateEntry(e); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
	}
	return nil
}

func validateEntry(e *raft.Log) error {
	switch e.Type {
	case raft.LogCommand, raft.LogNoop, raft.LogBarrier:
		return nil
	case raft.LogConfiguration:
		return validateConfiguration(e.Data)
	}
	return fmt.Errorf("type is %d, which this version does not use", e.Type)
}

func validateSnapshot(s *raft.InstallSnapshotRequest) error {
	if s.SnapshotVersion != raft.SnapshotVersionMax {
		return fmt.Errorf("snapshot has version %d; this version knows %d", s.SnapshotVersion, raft.SnapshotVersionMax)
	}
	if s.Size < 0 || s.Size > maxSnapshotBytes {
		return fmt.Errorf("snapshot has %d bytes; limit is 0 to %d", s.Size, int64(maxSnapshotBytes))
	}
	if s.LastLogIndex == 0 {
		return errors.New("snapshot has index 0")
	}
	err := errors.Join(
		counter("term", s.Term), counter("last log index", s.LastLogIndex),
		notAbove("last log term", s.LastLogTerm, "term", s.Term),
		notAbove("configuration index", s.ConfigurationIndex, "last log index", s.LastLogIndex))
	if err != nil {
		return err
	}
	return validateConfiguration(s.Configuration)
}

// validateConfiguration decodes a configuration as Raft would. Raft does it on
// its main loop, where the panic on damaged bytes would end the process.
func validateConfiguration(data []byte) error {
	configuration, err := decodeConfiguration(data)
	if err != nil {
		return err
	}
	if n := len(configuration.Servers); n == 0 || n > maxServers {
		return fmt.Errorf("configuration has %d servers; limit is 1 to %d", n, maxServers)
	}
	ids := map[raft.ServerID]bool{}
	voters := 0
	for _, s := range configuration.Servers {
		if err := validateName("configuration's node id", string(s.ID), MaxNodeIDBytes); err != nil {
			return err
		}
		if len(s.Address) == 0 || len(s.Address) > maxAddressBytes {
			return fmt.Errorf("configuration's address of node %q has %d bytes; limit is 1 to %d", s.ID, len(s.Address), maxAddressBytes)
		}
		if ids[s.ID] {
			return fmt.Errorf("configuration has node %q twice", s.ID)
		}
		ids[s.ID] = true
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	if voters == 0 {
		return errors.New("configuration has no voter")
	}
	return nil
}

// decodeConfiguration has its own reading of the bytes first, so that lengths
// inside them are honest before raft's decoder sees them.
func decodeConfiguration(data []byte) (c raft.Configuration, err error) {
	if _, err := readMessage(bytes.NewReader(data), nil, len(data)); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("configuration does not decode: %v", r)
		}
	}()
	return raft.DecodeConfiguration(data), nil
}
