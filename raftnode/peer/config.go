package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Limits of what the preface carries.
const (
	// MaxNodeIDBytes bounds a node id.
	MaxNodeIDBytes = 128
	// MaxIncarnationBytes bounds an incarnation; a UUID has 36.
	MaxIncarnationBytes = 64
)

// Config says who this node is and whom it talks to. NodeID, Incarnation,
// Registry and IsMember must be set, and Listen or Listener; zero elsewhere
// means the default.
type Config struct {
	// NodeID is this node's id, 1 to MaxNodeIDBytes bytes.
	NodeID string
	// Incarnation names this node's data directory: made at random when the
	// directory was initialised and never changed, 1 to MaxIncarnationBytes bytes.
	Incarnation string
	// Listen is the address to listen on, HOST:PORT.
	Listen string
	// Advertise is the address that other nodes reach this one by, HOST:PORT.
	// Empty means what it listens on.
	Advertise string
	// Registry remembers the incarnations of the peers.
	Registry Registry
	// IsMember decides whether a node may connect: raftnode says yes to members of
	// the latest configuration, and to all while there is none. Called by many
	// goroutines at once; it must not block.
	IsMember func(id string) bool
	// OnRefused is told of every refusal, on both sides. Called by many
	// goroutines at once; it must not block, nor call Close of the Mux. Strangers
	// cause calls too, so it must be cheap. Nil means nobody cares.
	OnRefused func(Refusal)
	// OnAccepted is told of every connection that came about. The same rules hold.
	OnAccepted func(peer string, kind Kind, inbound bool)
	// TLS wraps the connections; nil means plain TCP.
	TLS TLS
	// Listener, if not nil, is used in place of listening on Listen. The Mux closes it.
	Listener net.Listener
	// DialContext, if not nil, is used in place of a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// HandshakeTimeout bounds TLS and preface together. Default 3 s.
	HandshakeTimeout time.Duration
	// DialTimeout bounds a dial with its handshake. Default 2 s, so that a host that
	// does not answer does not hold up a heartbeat's retry for long.
	DialTimeout time.Duration
	// MaxConns bounds the inbound connections past the preface. Default 256.
	MaxConns int
	// MaxConnsPerPeer bounds those of one peer: Raft uses about five and gRPC one,
	// twice that right after a restart. Default 32.
	MaxConnsPerPeer int
	// MaxHandshakes bounds the inbound connections that have not finished the
	// preface. A newer one pushes the oldest out: a member's takes milliseconds, so
	// that strangers who hold connections open do not keep members out. Default 64.
	MaxHandshakes int
	// Logger; nil discards.
	Logger *slog.Logger
}

// TLS is where mutual TLS goes. Both methods run the whole handshake under the
// deadline that conn has already, and close nothing when they fail.
type TLS interface {
	// Client secures a dialed connection and must fail unless the other side
	// proves to be the node with that id.
	Client(conn net.Conn, id string) (net.Conn, error)
	// Server secures an accepted connection and returns the node id that the
	// other side proved. The connection is refused if the preface names another.
	Server(conn net.Conn) (secured net.Conn, id string, err error)
}

// Kind says what a connection carries. It goes over the wire; never renumber.
type Kind uint8

const (
	// KindRaft carries the messages of hashicorp/raft.
	KindRaft Kind = 1
	// KindGRPC carries the peer service.
	KindGRPC Kind = 2
)

func (k Kind) valid() bool { return k == KindRaft || k == KindGRPC }

// String is a stable lower-case name, fit for a metric's label.
func (k Kind) String() string {
	switch k {
	case KindRaft:
		return "raft"
	case KindGRPC:
		return "grpc"
	}
	return fmt.Sprintf("kind_%d", uint8(k))
}

func (c Config) withDefaults() Config {
	orDefault(&c.HandshakeTimeout, 3*time.Second)
	orDefault(&c.DialTimeout, 2*time.Second)
	orDefault(&c.MaxConns, 256)
	orDefault(&c.MaxConnsPerPeer, 32)
	orDefault(&c.MaxHandshakes, 64)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnRefused == nil {
		c.OnRefused = func(Refusal) {}
	}
	if c.OnAccepted == nil {
		c.OnAccepted = func(string, Kind, bool) {}
	}
	return c
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c Config) validate() error {
	if err := validateName("NodeID", c.NodeID, MaxNodeIDBytes); err != nil {
		return err
	}
	if err := validateName("Incarnation", c.Incarnation, MaxIncarnationBytes); err != nil {
		return err
	}
	switch {
	case c.Registry == nil:
		return errors.New("peer: Registry must be set")
	case c.IsMember == nil:
		return errors.New("peer: IsMember must be set")
	case c.Listener == nil && c.Listen == "":
		return errors.New("peer: Listen must be set")
	case c.HandshakeTimeout < 0 || c.DialTimeout < 0:
		return errors.New("peer: HandshakeTimeout and DialTimeout must not be negative")
	case c.MaxConns < 0 || c.MaxConnsPerPeer < 0 || c.MaxHandshakes < 0:
		return errors.New("peer: MaxConns, MaxConnsPerPeer and MaxHandshakes must not be negative")
	}
	return nil
}

func validateName(field, name string, limit int) error {
	if name == "" || len(name) > limit {
		return fmt.Errorf("peer: %s has %d bytes; limit is 1 to %d bytes", field, len(name), limit)
	}
	return nil
}
