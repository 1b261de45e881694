package raftnode

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"tidemark"
)

// outcome says what an error of hashicorp/raft means for the entry that got it.
// This is the only place that decides it.
//
// An entry is certainly not applied only if Raft refused it before it touched a
// log: this node did not lead, it was handing leadership over, or its main loop
// did not take the entry in time. Everything else is unknown, also what sounds
// harmless: an entry of a leader that steps down or stops can be on another
// node's disk and be committed by the next leader, and so can one whose local
// write failed, because the followers may have got it first.
func outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return tidemark.ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: leadership is being handed over", tidemark.ErrNotLeader)
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", tidemark.ErrOverloaded, err)
	default:
		return fmt.Errorf("%w: %w", tidemark.ErrOutcomeUnknown, err)
	}
}

// errFenced is the outcome of an entry that Raft stamped with another term than
// that of the leadership that proposed it; see entry.go.
var errFenced = fmt.Errorf("%w: leadership changed while the entry was proposed", tidemark.ErrNotLeader)
