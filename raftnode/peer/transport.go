package peer

import (
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// TransportConfig tunes a Transport; zero means the default.
type TransportConfig struct {
	// Timeout bounds one Raft call, snapshots aside. Default 5 s.
	Timeout time.Duration
	// MaxPool is how many idle connections are kept per peer. Default 3.
	MaxPool int
	// MaxMessageBytes bounds one inbound Raft message, the body of a snapshot
	// aside. It must hold MaxAppendEntries entries of the largest size. Default 64 MiB.
	MaxMessageBytes int
	// AdmitSnapshot, if not nil, is asked before Raft's main loop sees an
	// InstallSnapshot with a body of size bytes; an error refuses it.
	AdmitSnapshot func(size int64) error
	// OnInvalid is told of each message that was not let through. It must not block.
	OnInvalid func(peer string, err error)
	Logger    *slog.Logger
}

// Transport is the raft.Transport of a node.
type Transport struct {
	*raft.NetworkTransport
}

// NewTransport starts a transport over the Raft streams of m. Closing it, as
// raft.Raft does at its shutdown, leaves m open.
func NewTransport(m *Mux, cfg TransportConfig) *Transport { return nil }
