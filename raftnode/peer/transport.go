package peer

import (
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"tidemark/internal/planted"
)

// TransportConfig tunes a Transport; zero means the default.
type TransportConfig struct {
	// Timeout bounds one outbound Raft call, snapshots aside, which get it once per
	// 256 KiB. A follower answers after its fsync, so it must be longer than a
	// stall that should not matter. Default 5 s.
	Timeout time.Duration
	// MaxPool is how many idle connections are kept per peer. Default 3: Raft
	// replicates, sends heartbeats and votes side by side.
	MaxPool int
	// MaxMessageBytes bounds one inbound Raft message, the body of a snapshot
	// aside. It must hold MaxAppendEntries entries of the largest size. Default 64 MiB.
	MaxMessageBytes int
	// StallTimeout is how long the other side of an inbound connection may stop
	// in the middle of a message or of a snapshot, and how long it may leave an
	// answer unread. Raft's main loop waits for a snapshot's bytes, so without it a
	// leader that is paused would stop its follower for good. Default 30 s.
	StallTimeout time.Duration
	// AdmitSnapshot, if not nil, is asked before Raft's main loop sees an
	// InstallSnapshot with a body of size bytes; an error refuses it.
	AdmitSnapshot func(size int64) error
	// Committed, if not nil, says up to where followers may be told that the log is
	// committed, of what Raft takes for committed. It must not block.
	Committed func(index uint64) uint64
	// OnInvalid, if not nil, is told of each inbound message that was not let
	// through. Called by many goroutines at once; it must not block.
	OnInvalid func(peer string, err error)
	// Logger; nil discards.
	Logger *slog.Logger
	// RaftLogger is for the outbound half, which is raft's own; nil discards.
	RaftLogger hclog.Logger
}

func (c TransportConfig) withDefaults() TransportConfig {
	orDefault(&c.Timeout, 5*time.Second)
	orDefault(&c.MaxPool, 3)
	orDefault(&c.MaxMessageBytes, 64<<20)
	orDefault(&c.StallTimeout, 30*time.Second)
	if c.AdmitSnapshot == nil {
		c.AdmitSnapshot = func(int64) error { return nil }
	}
	if c.Committed == nil {
		c.Committed = func(index uint64) uint64 { return index }
	}
	if c.OnInvalid == nil {
		c.OnInvalid = func(string, error) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.RaftLogger == nil {
		c.RaftLogger = hclog.NewNullLogger()
	}
	return c
}

// Transport is the raft.Transport of a node. What it sends goes through the
// embedded raft.NetworkTransport, which it must embed for Raft to see that
// pre-votes are possible. What it receives it decodes and validates itself, and
// all of it, heartbeats too, goes to Raft's main loop.
type Transport struct {
	*raft.NetworkTransport
	cfg     TransportConfig
	local   raft.ServerAddress
	streams raft.StreamLayer
	rpcs    chan raft.RPC
	done    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup

	mu      sync.Mutex
	inbound map[*Conn]struct{}
	// heartbeat is nil unless a bug is planted.
	heartbeat func(raft.RPC)
}

// NewTransport starts a transport over the Raft streams of m. Closing it, as
// raft.Raft does at its shutdown, refuses further Raft streams and leaves m open.
func NewTransport(m *Mux, cfg TransportConfig) *Transport {
	cfg = cfg.withDefaults()
	layer := streamLayer{m.queues[KindRaft], m}
	t := &Transport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Logger:  cfg.RaftLogger,
			Stream:  dialOnly{layer, newQueue(m.advertise)},
			MaxPool: cfg.MaxPool,
			// One call at a time: with 1 AppendEntriesPipeline returns
			// ErrPipelineReplicationNotSupported, so Raft never enters the pipelining
			// that can wedge for good after a follower's disk stalled.
			MaxRPCsInFlight: 1,
			Timeout:         cfg.Timeout,
		}),
		cfg:     cfg,
		local:   raft.ServerAddress(m.advertise),
		streams: layer,
		rpcs:    make(chan raft.RPC),
		done:    make(chan struct{}),
		inbound: map[*Conn]struct{}{},
	}
	t.wg.Go(t.listen)
	return t
}

// Consumer implements raft.Transport. Each call that arrives there is valid by
// itself; whether it fits the node's state is Raft's business.
func (t *Transport) Consumer() <-chan raft.RPC { return t.rpcs }

// LocalAddr implements raft.Transport.
func (t *Transport) LocalAddr() raft.ServerAddress { return t.local }

// SetHeartbeatHandler implements raft.Transport and drops the handler: it would
// change Raft's term and state on a connection's goroutine, under a leader's main
// loop that is about to stamp an entry.
func (t *Transport) SetHeartbeatHandler(handler func(raft.RPC)) {
	if planted.Is(planted.HeartbeatFastPath) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.heartbeat = handler
	}
}

// AppendEntries implements raft.Transport.
func (t *Transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	told := *args
	told.LeaderCommitIndex = t.cfg.Committed(args.LeaderCommitIndex)
	return t.NetworkTransport.AppendEntries(id, Target(id, target), &told, resp)
}

// AppendEntriesPipeline implements raft.Transport; it always returns
// raft.ErrPipelineReplicationNotSupported.
func (t *Transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	return t.NetworkTransport.AppendEntriesPipeline(id, Target(id, target))
}

// RequestVote implements raft.Transport.
func (t *Transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, Target(id, target), args, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t *Transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, Target(id, target), args, resp)
}

// InstallSnapshot implements raft.Transport.
func (t *Transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, Target(id, target), args, resp, data)
}

// TimeoutNow implements raft.Transport.
func (t *Transport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, Target(id, target), args, resp)
}

// CloseStreams closes all connections; new ones may come.
func (t *Transport) CloseStreams() {
	t.NetworkTransport.CloseStreams()
	t.closeInbound()
}

// Close implements raft.WithClose. It returns when no goroutine of the inbound
// half is left.
func (t *Transport) Close() error {
	var err error
	t.once.Do(func() {
		close(t.done)
		err = t.streams.Close()
		t.NetworkTransport.CloseStreams()
		if e := t.NetworkTransport.Close(); err == nil {
			err = e
		}
		t.closeInbound()
		t.wg.Wait()
	})
	return err
}

func (t *Transport) closeInbound() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.inbound {
		c.Close()
	}
}
