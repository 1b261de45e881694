package host

import (
	"context"
	"errors"
	"net"
	"time"
)

// Host is a Cluster with what the one who runs it needs.
type Host struct{}

var _ Cluster = (*Host)(nil)

// New describes a cluster of nodes n1, n2, … and starts none of them. It has to be closed.
func New(options Options) (*Host, error) { return nil, errors.ErrUnsupported }

// Form starts all nodes that do not run, and waits until they are ready.
func (h *Host) Form(ctx context.Context) error { return errors.ErrUnsupported }

// Close kills all nodes, closes their disks and gives back the network. It is safe
// to call twice.
func (h *Host) Close() error { return errors.ErrUnsupported }

// Dial is a Dialer for the nodes' endpoints, from Clients.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// Endpoints are the client addresses of all nodes.
func (h *Host) Endpoints() []string { return nil }

// Describe says in one line where the nodes live and which faults that allows.
func (h *Host) Describe() string { return "" }

func (h *Host) Nodes() []Node                                           { return nil }
func (h *Host) Node(id NodeID) Node                                     { return nil }
func (h *Host) Leader(ctx context.Context) (Node, bool)                 { return nil, false }
func (h *Host) Add() (Node, error)                                      { return nil, errors.ErrUnsupported }
func (h *Host) Remove(id NodeID) error                                  { return errors.ErrUnsupported }
func (h *Host) Kill(ids ...NodeID) error                                { return errors.ErrUnsupported }
func (h *Host) Supports(feature Feature) bool                           { return false }
func (h *Host) Cut(from, to NodeID, oneWay bool) error                  { return errors.ErrUnsupported }
func (h *Host) Partition(groups ...[]NodeID) error                      { return errors.ErrUnsupported }
func (h *Host) Slow(from, to NodeID, delay, jitter time.Duration) error { return errors.ErrUnsupported }
func (h *Host) Lossy(from, to NodeID, percent float64) error            { return errors.ErrUnsupported }
func (h *Host) Bandwidth(id NodeID, bytesPerSecond uint64) error        { return errors.ErrUnsupported }
func (h *Host) Heal() error                                             { return errors.ErrUnsupported }
