package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

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
	// Tails is told by the state machine what it applies; nil refuses Tail.
	Tails *Tails
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
	// it, for Status; nil or an error leaves them 0.
	Disk func() (used, free uint64, err error)
	// StoreFormat is the format version of the store, for Status.
	StoreFormat uint32

	// ServerOptions come after the server's own: the seam for transport credentials and
	// authorisation (chained interceptors run inside the server's own).
	ServerOptions []grpc.ServerOption
	// DialOptions are for connections to the leader; nil means no transport security.
	DialOptions []grpc.DialOption
	// RetentionInterval is how often this node looks, while it leads, what the retention
	// policies let go; 0 never does.
	RetentionInterval time.Duration
	// ChangesMaxAge and ChangesMaxEntries bound the change feed, by the age of changes and by
	// the number of log entries that it goes back; 0 for no bound. The leader looks after
	// it at each RetentionInterval.
	ChangesMaxAge     time.Duration
	ChangesMaxEntries uint64
	// Clock is that of the leader; time.Now if nil.
	Clock func() time.Time
}

// Server serves the API of one node.
type Server struct {
	tidemarkv1.UnimplementedTimelineServiceServer
	tidemarkv1.UnimplementedClusterServiceServer

	Options
	grpc      *grpc.Server
	admission *admission
	metrics   *metrics
	leader    *leaderConnections
	started   time.Time

	health     *health.Server
	healthDone chan struct{}

	// levelMissed is when a call last waited in vain for a feature level, in nanoseconds.
	levelMissed atomic.Int64

	// backup is held while one Backup runs.
	backup sync.Mutex

	// stopping is closed when Shutdown begins.
	stopping chan struct{}
	// draining is closed when Shutdown has handed leadership over.
	draining chan struct{}
	stopOnce sync.Once
	stopped  error
}

// New makes a server and starts to watch the node's health. It serves nothing until
// Serve is called, and must be shut down even if that never happens.
func New(o Options) (*Server, error) {
	if o.Node == nil || o.Store == nil || o.NodeID == "" {
		return nil, errors.New("rpc: Options.Node, Store and NodeID are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Limits = o.Limits.withDefaults()
	if o.Clock == nil {
		o.Clock = time.Now
	}
	s := &Server{
		Options:    o,
		admission:  newAdmission(o.Limits),
		leader:     newLeaderConnections(o.DialOptions),
		started:    time.Now(),
		health:     health.NewServer(),
		healthDone: make(chan struct{}),
		stopping:   make(chan struct{}),
		draining:   make(chan struct{}),
	}
	var collectors []prometheus.Collector
	s.metrics, collectors = newMetrics(s.admission)
	if o.Registerer != nil {
		if err := register(o.Registerer, collectors); err != nil {
			return nil, err
		}
	}
	s.grpc = grpc.NewServer(append(s.serverOptions(), o.ServerOptions...)...)
	tidemarkv1.RegisterTimelineServiceServer(s.grpc, s)
	tidemarkv1.RegisterClusterServiceServer(s.grpc, s)
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.setHealth(o.Node.Ready())
	go s.watchHealth()
	if o.Tails != nil {
		go o.Tails.run(s.stopping)
	}
	if o.RetentionInterval > 0 {
		go s.retain()
	}
	return s, nil
}

// maxRequestBytes bounds one request as it is received: the largest batch, and for
// each of its messages the names and the encoding that MaxBatchBytes does not count.
const maxRequestBytes = tidemark.MaxBatchBytes + tidemark.MaxBatchMessages*(tidemark.MaxTimelineIDBytes+256) + 1<<20

// streamWindow and connectionWindow are how much is sent to this node before it is read:
// less than a stream may hold, and enough for 20 MB/s over a link of 50 ms. They are set
// because gRPC measures what it would choose itself with a ping for nearly every message
// that comes alone, and each ping wakes both sides up.
const (
	streamWindow     = 1 << 20
	connectionWindow = 4 << 20
)

// handshakeTimeout bounds the time from connecting to the first frames, TLS included.
const handshakeTimeout = 10 * time.Second

const (
	// writeBufferBytes lets a page, or several, leave by one system call.
	writeBufferBytes = 128 << 10
	// callWorkers is how many goroutines are kept for calls. A call needs a stack that a new
	// goroutine has to grow to, in several steps. Calls beyond them get goroutines of their own.
	callWorkers = 64
)

func (s *Server) serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(s.callUnary),
		grpc.ChainStreamInterceptor(s.callStream),
		grpc.ForceServerCodecV2(newCodec()),
		experimental.BufferPool(buffers),
		grpc.WriteBufferSize(writeBufferBytes),
		grpc.NumStreamWorkers(callWorkers),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxConcurrentStreams(s.Limits.MaxConnectionCalls),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connectionWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: s.Limits.KeepaliveTime, Timeout: s.Limits.KeepaliveTimeout}),
		// A client begins at once; who connects and is silent holds a file descriptor.
		grpc.ConnectionTimeout(handshakeTimeout),
		// Pings on an idle connection are welcome: that is how a client finds out
		// that the node is gone before it needs it.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: s.Limits.KeepaliveMin, PermitWithoutStream: true}),
		// Stop must not return while a handler still uses the store.
		grpc.WaitForHandlers(true),
	}
}

// Serve accepts connections from l until Shutdown, and returns nil then. It may be
// called for several listeners, and closes each.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Shutdown ends the server in order: health turns to NOT_SERVING, new calls and
// connections are refused and streams answer what they have proposed, leadership is
// handed over, calls in flight are waited for. When ctx ends, what is left is cut
// off and the error of ctx returned. After it no handler runs. It is idempotent: later
// calls wait for the first, and return what it returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopOnce.Do(func() { s.stopped = s.shutdown(ctx) })
	return s.stopped
}

func (s *Server) shutdown(ctx context.Context) error {
	close(s.stopping)
	<-s.healthDone
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	var handedOver error
	if s.HandOver != nil {
		handedOver = s.HandOver(ctx)
	}
	close(s.draining)
	var cut error
	select {
	case <-drained:
	case <-ctx.Done():
		cut = fmt.Errorf("rpc: calls in flight were cut off: %w", ctx.Err())
		s.grpc.Stop()
		<-drained
	}
	s.leader.close()
	return errors.Join(handedOver, cut)
}
