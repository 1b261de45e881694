package rpc

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"tidemark"
)

// admission bounds what is in flight. Unary calls beyond a bound are refused at
// once; streams wait, because whoever sends on a stream is held back by not being
// read. Nothing here queues without a bound: a stream holds at most one message
// while it waits, and streams are bounded.
type admission struct {
	limits               Limits
	calls, streams, held atomic.Int64
	bytes, pages         *semaphore.Weighted
	// inboxes bounds the deliveries of appends in flight: all of one log entry are one
	// write of the store.
	inboxes *semaphore.Weighted
}

// enterInboxes waits a moment for room for n deliveries, or for other changes of many
// records. A release of n must follow a success.
func (a *admission) enterInboxes(ctx context.Context, n int64) error {
	if n == 0 || a.inboxes.TryAcquire(n) {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, inboxPatience)
	defer cancel()
	if err := a.inboxes.Acquire(waiting, n); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &refusal{"deliveries to inboxes", maxInboxesInFlight}
	}
	return nil
}

// inboxPatience is how long a call waits for room among the deliveries in flight.
const inboxPatience = time.Second

// maxInboxesInFlight lets two of the largest recipient sets be on their way at a time.
const maxInboxesInFlight = 2 * tidemark.MaxRecipients

func newAdmission(limits Limits) *admission {
	return &admission{
		limits: limits,
		bytes:  semaphore.NewWeighted(limits.MaxBytes),
		pages:  semaphore.NewWeighted(limits.MaxPageBytes),

		inboxes: semaphore.NewWeighted(maxInboxesInFlight),
	}
}

// refusal is ErrOverloaded with the limit that was reached.
type refusal struct {
	limit string
	most  int64
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%v: %d %s are in flight, the limit of this node", tidemark.ErrOverloaded, r.most, r.limit)
}
func (r *refusal) Unwrap() error { return tidemark.ErrOverloaded }

// enterCall admits a unary call with a request of size bytes. leaveCall must follow
// a success, with the same size.
func (a *admission) enterCall(size int64) error {
	if a.calls.Add(1) > int64(a.limits.MaxCalls) {
		a.calls.Add(-1)
		return &refusal{"calls", int64(a.limits.MaxCalls)}
	}
	if !a.bytes.TryAcquire(a.clamp(size)) {
		a.calls.Add(-1)
		return &refusal{"bytes", a.limits.MaxBytes}
	}
	a.held.Add(size)
	return nil
}

func (a *admission) leaveCall(size int64) {
	a.releaseBytes(size)
	a.calls.Add(-1)
}

// enterStream admits a stream. leaveStream must follow a success.
func (a *admission) enterStream() error {
	if a.streams.Add(1) > int64(a.limits.MaxStreams) {
		a.streams.Add(-1)
		return &refusal{"streams", int64(a.limits.MaxStreams)}
	}
	return nil
}

func (a *admission) leaveStream() { a.streams.Add(-1) }

// waitBytes waits for room for size bytes of a stream, up to StreamPatience.
// releaseBytes must follow a success.
func (a *admission) waitBytes(ctx context.Context, size int64) error {
	if !a.bytes.TryAcquire(a.clamp(size)) {
		patient, cancel := context.WithTimeout(ctx, a.limits.StreamPatience)
		defer cancel()
		if err := a.bytes.Acquire(patient, a.clamp(size)); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &refusal{"bytes", a.limits.MaxBytes}
		}
	}
	a.held.Add(size)
	return nil
}

func (a *admission) releaseBytes(size int64) {
	a.held.Add(-size)
	a.bytes.Release(a.clamp(size))
}

// waitPage waits for room to build a page of at most size bytes, and returns what
// releases it.
func (a *admission) waitPage(ctx context.Context, size int64) (release func(), err error) {
	size = min(size, a.limits.MaxPageBytes)
	if err := a.pages.Acquire(ctx, size); err != nil {
		return nil, err
	}
	return func() { a.pages.Release(size) }, nil
}

// clamp lets a single request that is larger than all the room in when it is alone.
func (a *admission) clamp(size int64) int64 { return min(size, a.limits.MaxBytes) }

func (a *admission) gauges() []prometheus.Collector {
	gauge := func(name, help string, value *atomic.Int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value.Load()) })
	}
	return []prometheus.Collector{
		gauge("tidemark_rpc_in_flight_bytes", "Bytes of requests that are in flight.", &a.held),
		gauge("tidemark_rpc_in_flight_calls", "Unary calls that are in flight.", &a.calls),
		gauge("tidemark_rpc_in_flight_streams", "Streams that are open: AppendStream and Tail.", &a.streams),
	}
}

// withDefaults fills the zero fields.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	setDefault(&l.MaxCalls, d.MaxCalls)
	setDefault(&l.MaxStreams, d.MaxStreams)
	setDefault(&l.MaxBytes, d.MaxBytes)
	setDefault(&l.MaxPageBytes, d.MaxPageBytes)
	setDefault(&l.MaxConnectionCalls, d.MaxConnectionCalls)
	setDefault(&l.StreamItems, d.StreamItems)
	setDefault(&l.StreamBytes, d.StreamBytes)
	setDefault(&l.StreamPatience, d.StreamPatience)
	setDefault(&l.MaxTailSubscriptions, d.MaxTailSubscriptions)
	setDefault(&l.TailHeartbeat, d.TailHeartbeat)
	setDefault(&l.CallTimeout, d.CallTimeout)
	setDefault(&l.SessionWait, d.SessionWait)
	setDefault(&l.KeepaliveTime, d.KeepaliveTime)
	setDefault(&l.KeepaliveTimeout, d.KeepaliveTimeout)
	setDefault(&l.KeepaliveMin, d.KeepaliveMin)
	return l
}

func setDefault[T int | int64 | uint32 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
