package rpc

import "time"

// Limits bound what one server holds in flight. A zero field takes its value from
// DefaultLimits.
type Limits struct {
	// MaxCalls bounds unary calls in flight, MaxStreams AppendStreams and Tails. Beyond them
	// a call is refused with RESOURCE_EXHAUSTED.
	MaxCalls, MaxStreams int
	// MaxBytes bounds the bytes of requests in flight, all calls and streams
	// together. A unary call beyond it is refused with RESOURCE_EXHAUSTED; a
	// stream waits for room, up to StreamPatience.
	MaxBytes int64
	// MaxPageBytes bounds the pages being read at once. A read waits for room.
	MaxPageBytes int64
	// MaxConnectionCalls bounds the calls in flight on one connection.
	MaxConnectionCalls uint32

	// StreamItems and StreamBytes bound what one AppendStream has proposed and not
	// answered. At the bound the stream is not read further.
	StreamItems int
	StreamBytes int64
	// StreamPatience is how long a stream waits for room in MaxBytes before it
	// ends with RESOURCE_EXHAUSTED.
	StreamPatience time.Duration

	// MaxTailSubscriptions bounds the subscriptions of all Tails together; one more is
	// refused with RESOURCE_EXHAUSTED. Each takes up to 1 KiB.
	MaxTailSubscriptions int64
	// TailHeartbeat is after how long a Tail with nothing to send says so.
	TailHeartbeat time.Duration

	// CallTimeout is the deadline of a unary call that has none, and how long an
	// item of a stream may wait for its outcome.
	CallTimeout time.Duration
	// SessionWait is how long a session read waits for its position, if its
	// deadline does not end the wait sooner.
	SessionWait time.Duration

	// KeepaliveTime is after how much silence a connection is pinged, and
	// KeepaliveTimeout how long an answer may take before the connection is closed.
	KeepaliveTime, KeepaliveTimeout time.Duration
	// KeepaliveMin is how often a client may ping; one that does so more often is cut off.
	KeepaliveMin time.Duration
}

// DefaultLimits returns the defaults, for a node with a GiB to spare.
func DefaultLimits() Limits {
	return Limits{
		// Each waiting call holds a goroutine and some buffers, about 20 KiB: 160 MiB.
		MaxCalls: 8192,
		// A frontend process needs one; each may hold StreamBytes.
		MaxStreams: 1024,
		// A request exists up to three times: as received, as a command, in an entry.
		MaxBytes: 128 << 20,
		// 32 pages of the largest size; small pages reserve what they ask for only
		// until they are read.
		MaxPageBytes: 128 << 20,
		// Above what one frontend has in flight, below what one may take from the others.
		MaxConnectionCalls: 4096,

		// At 100,000 appends a second and 5 ms of latency 500 are in flight.
		StreamItems: 4096,
		// 32 messages of the largest size.
		StreamBytes:    8 << 20,
		StreamPatience: 5 * time.Second,

		// Ten streams that are full, in half a GiB.
		MaxTailSubscriptions: 1_000_000,
		TailHeartbeat:        2 * time.Second,

		// Longer than an election and a retry, so that it ends only what is stuck.
		CallTimeout: 30 * time.Second,
		SessionWait: 5 * time.Second,

		// Finds a dead peer in half a minute, and keeps most NATs awake.
		KeepaliveTime:    20 * time.Second,
		KeepaliveTimeout: 10 * time.Second,
		KeepaliveMin:     5 * time.Second,
	}
}
