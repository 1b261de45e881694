package peer

import "context"

// Clients holds one connection to each peer that was asked for.
type Clients struct{ mux *Mux }

// NewClients returns an empty set over m.
func NewClients(m *Mux) *Clients { return &Clients{mux: m} }

// Client speaks to one peer. Its methods fail at once while the peer is
// unreachable; otherwise when ctx ends.
type Client struct{}

// Get returns the client of a node. An address other than the one before
// replaces the connection.
func (c *Clients) Get(id, address string) (*Client, error) { return nil, errUnfinished }

// Remove closes the connection to a node that left the cluster.
func (c *Clients) Remove(id string) {}

// Close closes all; Get fails from then on.
func (c *Clients) Close() error { return errUnfinished }

// Term asks for the peer's current term.
func (c *Client) Term(ctx context.Context) (uint64, error) { return 0, errUnfinished }

// ReadIndex asks the peer, as a leader, for a read index and its term.
func (c *Client) ReadIndex(ctx context.Context) (index, term uint64, err error) {
	return 0, 0, errUnfinished
}

// Info asks the peer how it is.
func (c *Client) Info(ctx context.Context) (Info, error) { return Info{}, errUnfinished }
