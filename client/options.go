package client

import (
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"tidemark"
)

// Option changes how a Client behaves. The defaults are meant to be right.
type Option func(*options)

type options struct {
	logger           *slog.Logger
	dialOptions      []grpc.DialOption
	observer         func(Attempt)
	consistency      Consistency
	discovery        bool
	backoffBase      time.Duration
	backoffMax       time.Duration
	connectTimeout   time.Duration
	stallTimeout     time.Duration
	leaderRefresh    time.Duration
	drainTimeout     time.Duration
	inFlightMessages int
	inFlightBytes    int
}

func defaultOptions() options {
	return options{
		logger:      slog.New(slog.DiscardHandler),
		consistency: Linearizable(),
		discovery:   true,
		// The first retry comes soon, because most failures are over as soon as
		// another node is asked. The longest pause is below the time that an
		// election takes, so that little is lost after it.
		backoffBase:    20 * time.Millisecond,
		backoffMax:     time.Second,
		connectTimeout: 2 * time.Second,
		// Longer than the pauses of two seconds that a busy disk makes, because
		// giving up on a leader that is merely slow only adds to its work.
		stallTimeout:  3 * time.Second,
		leaderRefresh: 10 * time.Second,
		drainTimeout:  5 * time.Second,
		// Enough to keep a fast cluster busy over a slow network.
		inFlightMessages: 4096,
		inFlightBytes:    32 << 20,
	}
}

// WithLogger lets the client tell what it does: retries at debug level, streams
// that had to be given up at warn level. The default is silence.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

// WithDialOptions adds options for every connection, after the client's own.
// Connections are plain text unless one of them sets transport credentials.
func WithDialOptions(dial ...grpc.DialOption) Option {
	return func(o *options) { o.dialOptions = append(o.dialOptions, dial...) }
}

// WithRetryBackoff sets how long the client waits before it tries again: the n-th
// wait is chosen at random between 0 and base·2ⁿ⁻¹, but at most limit. A node may
// ask for a longer wait. The default is 20 ms and 1 s.
func WithRetryBackoff(base, limit time.Duration) Option {
	return func(o *options) { o.backoffBase, o.backoffMax = base, limit }
}

// WithMaxInFlight bounds the appends that are under way: beyond it, Append and
// AppendAsync wait for room. The default is 4,096 messages and 32 MiB. A message
// larger than the bound in bytes is sent alone.
func WithMaxInFlight(messages, bytes int) Option {
	return func(o *options) { o.inFlightMessages, o.inFlightBytes = messages, bytes }
}

// WithStallTimeout sets how long a node may leave everything unanswered before
// the client turns to another one. The default is 3 s. A unary call that was given
// up for this gets twice as long at its next attempt.
func WithStallTimeout(d time.Duration) Option {
	return func(o *options) { o.stallTimeout = d }
}

// WithConnectTimeout sets how long connecting to a node may take before the
// client turns to another one. The default is 2 s.
func WithConnectTimeout(d time.Duration) Option {
	return func(o *options) { o.connectTimeout = d }
}

// WithLeaderRefresh sets how often a client that appends asks who leads, so that
// it moves to a new leader also when the old one goes on forwarding. The default
// is 10 s.
func WithLeaderRefresh(d time.Duration) Option {
	return func(o *options) { o.leaderRefresh = d }
}

// WithDrainTimeout sets how long Close waits for what is under way. The default is 5 s.
func WithDrainTimeout(d time.Duration) Option {
	return func(o *options) { o.drainTimeout = d }
}

// WithConsistency sets the level of reads that name none. The default is Linearizable.
func WithConsistency(level Consistency) Option {
	return func(o *options) { o.consistency = level }
}

// WithoutDiscovery makes the client use the given endpoints alone, for writes
// too. Otherwise it sends appends to the leader wherever that is, and turns to
// other members of the cluster if none of the endpoints is of use.
func WithoutDiscovery() Option {
	return func(o *options) { o.discovery = false }
}

// WithObserver calls observe after every attempt, from several goroutines at
// once. It must not block.
func WithObserver(observe func(Attempt)) Option {
	return func(o *options) { o.observer = observe }
}

// Attempt is what one call to one node, or one stream of appends, came to.
type Attempt struct {
	// Operation is the method, such as Read or AppendStream.
	Operation string
	Endpoint  string
	// Duration is how long it took.
	Duration time.Duration
	// Answered and Unanswered count the appends of a stream.
	Answered, Unanswered int
	// Err is nil if it succeeded. Otherwise it wraps the errors of package
	// tidemark; of a write, ErrOutcomeUnknown says that it may be applied.
	Err error
}

// validate names the first option that makes no sense.
func (o *options) validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"WithRetryBackoff base", o.backoffBase},
		{"WithConnectTimeout", o.connectTimeout},
		{"WithStallTimeout", o.stallTimeout},
		{"WithLeaderRefresh", o.leaderRefresh},
		{"WithDrainTimeout", o.drainTimeout},
	} {
		if d.value <= 0 {
			return tidemark.Invalid(d.name, "must be positive; it is %v", d.value)
		}
	}
	switch {
	case o.backoffMax < o.backoffBase:
		return tidemark.Invalid("WithRetryBackoff limit", "must be at least base (%v); it is %v", o.backoffBase, o.backoffMax)
	case o.inFlightMessages <= 0:
		return tidemark.Invalid("WithMaxInFlight messages", "must be positive; it is %d", o.inFlightMessages)
	case o.inFlightBytes <= 0:
		return tidemark.Invalid("WithMaxInFlight bytes", "must be positive; it is %d", o.inFlightBytes)
	case o.logger == nil:
		return tidemark.Invalid("WithLogger", "must not be nil")
	}
	return nil
}
