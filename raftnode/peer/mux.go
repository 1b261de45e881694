package peer

import (
	"context"
	"errors"
	"net"

	"github.com/hashicorp/raft"
)

var errUnfinished = errors.New("unfinished")

// Mux owns the Raft port.
type Mux struct{ cfg Config }

// Listen starts to accept.
func Listen(cfg Config) (*Mux, error) { return nil, errUnfinished }

// Advertise returns the address that other nodes reach this one by.
func (m *Mux) Advertise() string { return "" }

// StreamLayer returns the Raft streams. Its Dial wants an address made by Target.
func (m *Mux) StreamLayer() raft.StreamLayer { return nil }

// GRPCListener returns the accepted connections of kind KindGRPC.
func (m *Mux) GRPCListener() net.Listener { return nil }

// Dial connects to the node with that id at that address and shakes hands. The
// error is a *RefusedError if one of the two did not want the other.
func (m *Mux) Dial(ctx context.Context, kind Kind, id, address string) (net.Conn, error) {
	return nil, errUnfinished
}

// Disconnect closes every connection with a node, in both directions. Call it
// after the node was removed from the configuration.
func (m *Mux) Disconnect(id string) {}

// Close stops listening and closes every connection; it returns when all are closed.
func (m *Mux) Close() error { return errUnfinished }
