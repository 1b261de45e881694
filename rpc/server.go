package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// Options are what a Server is made of. Node, Store and NodeID are needed; the rest
// may be left zero.
type Options struct {
	// NodeID is this node's own id. It marks forwarded calls.
	NodeID string
	Node   Node
	Store  Store
	// OpenSnapshot opens a consistent copy of the state for Backup; nil refuses backups.
	OpenSnapshot func() (tidemark.SnapshotReader, error)

	// Limits bound what is in flight; a zero field takes its value from DefaultLimits.
	Limits Limits

	// Logger is told of panics and of errors that clients are not shown; nil discards.
	Logger *slog.Logger
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer

	// HandOver is called by Shutdown after new calls are refused and before calls in
	// flight are waited for: the place to hand leadership over. May be nil.
	HandOver func(context.Context) error

	// Disk returns the bytes used by the data directory and the bytes free beside
	// it, for Status; nil leaves both 0.
	Disk func() (used, free uint64, err error)
	// StoreFormat is the format version of the store, for Status.
	StoreFormat uint32

	// ServerOptions come after the server's own: the seam for transport credentials and
	// authorisation (chained interceptors run inside the server's own).
	ServerOptions []grpc.ServerOption
	// DialOptions are for connections to the leader; nil means no transport security.
	DialOptions []grpc.DialOption
}

// Server serves the API of one node.
type Server struct {
	tidemarkv1.UnimplementedTimelineServiceServer
	tidemarkv1.UnimplementedClusterServiceServer

	Options
	grpc    *grpc.Server
	started time.Time

	stopOnce sync.Once
	stopping chan struct{}
}

// New makes a server. It serves nothing until Serve is called, and must be shut
// down even if that never happens.
func New(o Options) (*Server, error) {
	if o.Node == nil || o.Store == nil || o.NodeID == "" {
		return nil, errors.New("rpc: Options.Node, Store and NodeID are needed")
	}
	s := &Server{Options: o, started: time.Now(), stopping: make(chan struct{})}
	s.grpc = grpc.NewServer(o.ServerOptions...)
	return s, nil
}

// Serve accepts connections from l until Shutdown, and returns nil then. It may be
// called for several listeners, and closes each.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Shutdown ends the server in order: health turns to NOT_SERVING, connections and
// calls are refused, leadership is handed over, calls in flight are waited for.
// When ctx ends, what is left is cut off and the error of ctx returned. It is
// idempotent.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopOnce.Do(func() { close(s.stopping) })
	s.grpc.Stop()
	return nil
}
