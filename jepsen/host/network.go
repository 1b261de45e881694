//go:build linux

package host

import (
	"context"
	"net"
	"os/exec"
	"time"
)

// network is what joins the nodes: namespaces or relays. A Host calls it under its
// own lock, except for start, dial and observe.
type network interface {
	// join gives a node its addresses, and leave takes them back.
	join(id NodeID) (addresses, error)
	leave(id NodeID) error
	// start starts a node's process where it belongs.
	start(id NodeID, cmd *exec.Cmd) error
	// dial connects from where the clients are, observe from where the harness itself
	// is, to which no link is ever hurt.
	dial(ctx context.Context, address string) (net.Conn, error)
	observe(ctx context.Context, address string) (net.Conn, error)

	supports(feature Feature) bool
	// arrive brings into force the faults of all that arrives at a node, by where it
	// comes from. What is not in faults has none.
	arrive(to NodeID, faults map[NodeID]link) error
	bandwidth(id NodeID, bytesPerSecond uint64) error
	// close gives everything back. All processes have ended.
	close() error
	String() string
}

// addresses are the HOST:PORTs of one node: where it listens, and what others are told.
type addresses struct {
	listen, advertise         string
	raftListen, raftAdvertise string
	http                      string
}

// link is what is wrong with one direction between two nodes.
type link struct {
	cut           bool
	delay, jitter time.Duration
	// loss is in units of 1/lossUnit.
	loss uint32
}

// lossUnit makes a loss of lossUnit drop everything.
const lossUnit = 10_000
