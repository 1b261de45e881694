package raftnode

import (
	"fmt"

	"github.com/hashicorp/raft"

	"tidemark"
)

// decodeMembership decodes the members of a state machine's record.
// raft.DecodeConfiguration panics on damaged bytes.
func decodeMembership(data []byte) (c raft.Configuration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the members in the state machine's record: %v", tidemark.ErrCorrupt, p)
		}
	}()
	if len(data) == 0 {
		return raft.Configuration{}, fmt.Errorf("%w: the state machine's record names no members", tidemark.ErrCorrupt)
	}
	return raft.DecodeConfiguration(data), nil
}

func findServer(c raft.Configuration, id string) (raft.Server, bool) {
	for _, s := range c.Servers {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

func voters(c raft.Configuration) []raft.Server {
	var out []raft.Server
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			out = append(out, s)
		}
	}
	return out
}
