package history

import "time"

// History is all that a run recorded.
type History struct {
	Meta       Meta
	Operations []Operation
	Faults     []Fault
	Samples    []Sample
	// Logs are entries of the nodes' Raft logs, as they were whenever a node did not run
	// and at the end. What was there before is not told again.
	Logs []LogEntry
}

// Meta says what was run.
type Meta struct {
	Name string   `json:"name,omitempty"`
	Seed uint64   `json:"seed"`
	Mix  []string `json:"mix,omitempty"`
	// Nodes are the ids of all nodes that ever took part.
	Nodes []string `json:"nodes,omitempty"`
	// ReadBack are the nodes of which final reads were to be made, named as in
	// Operation.Node. If it is empty, it is those of which there are final reads.
	ReadBack []string `json:"read_back,omitempty"`
	// CommandLine reproduces the run.
	CommandLine string    `json:"command_line,omitempty"`
	Version     string    `json:"version,omitempty"`
	Started     time.Time `json:"started,omitzero"`
}

// NeverHealed is the To of a fault that was not healed.
const NeverHealed = time.Duration(-1)

// Fault is one thing that a nemesis did.
type Fault struct {
	// Name is the nemesis's, and Target the nodes or links that it hit.
	Name   string `json:"name"`
	Target string `json:"target,omitempty"`
	// From and To are when injecting began and when healing had ended, since the run began.
	From   time.Duration `json:"from_ns"`
	To     time.Duration `json:"to_ns"`
	Detail string        `json:"detail,omitempty"`
}

// Sample is what a node said about itself at a time. A number that could not be
// had is 0.
type Sample struct {
	At           time.Duration `json:"at_ns"`
	Node         string        `json:"node"`
	AppliedIndex uint64        `json:"applied_index,omitempty"`
	CommitIndex  uint64        `json:"commit_index,omitempty"`
	Term         uint64        `json:"term,omitempty"`
	// Leader is the node that it takes for the leader.
	Leader string `json:"leader,omitempty"`
	// MemoryBytes is the resident set of the process.
	MemoryBytes     int `json:"memory_bytes,omitempty"`
	Goroutines      int `json:"goroutines,omitempty"`
	FileDescriptors int `json:"file_descriptors,omitempty"`
}

// LogEntry is one entry that was in a node's Raft log at some time.
type LogEntry struct {
	Node  string `json:"node"`
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	// PreviousTerm is that of the entry before it in the same log at the same time, or 0
	// if there was none. Together, these tell whether two logs agree before an entry that
	// both have.
	PreviousTerm uint64 `json:"previous_term,omitempty"`
	// Hash stands for the entry's type and content.
	Hash string `json:"hash"`
}
