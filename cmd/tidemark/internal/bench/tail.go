package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/bench/htmlreport"
	"tidemark/internal/load"
)

// TailConfig says how to measure tails.
type TailConfig struct {
	Target
	// Subscriptions are opened on one stream, each of another timeline.
	Subscriptions int
	// Rate is how many appends a second are begun, to a random one of these timelines.
	Rate float64
	// Duration is how long that goes on.
	Duration time.Duration
	// Backlog is how many messages there are to catch up with.
	Backlog int
	// Payload is the size of each message, at least payloadHeader.
	Payload int
	// Progress is told what is done; it may be nil.
	Progress func(string)
}

const (
	// payloadHeader is the turn of the node that is measured and the number of the
	// append, which its delivery is known by.
	payloadHeader = 16
	// backlogTimelines is how many timelines share the backlog.
	backlogTimelines = 100
	// settle bounds how long deliveries may be missing after the last append.
	settle = 30 * time.Second
	// maxAppends bounds the appends of one node's turn, all of which are remembered.
	maxAppends = 50e6
)

// TailReport is what was measured, once on the leader and once on a follower.
type TailReport struct {
	Subscriptions int          `json:"subscriptions"`
	Rate          float64      `json:"appends_per_second"`
	Payload       int          `json:"payload_bytes"`
	Backlog       int          `json:"backlog_messages"`
	Nodes         []TailOnNode `json:"nodes"`
}

// TailOnNode is what one node did.
type TailOnNode struct {
	Endpoint string `json:"endpoint"`
	Leads    bool   `json:"leads"`
	// CatchUp is how many messages of the backlog came in a second.
	CatchUp float64 `json:"catch_up_messages_per_second"`
	// Before and With are the memory of the node without and with idle subscriptions, and
	// BytesEach the difference of what is live, for each subscription.
	Before    Memory  `json:"before"`
	With      Memory  `json:"with_subscriptions"`
	BytesEach float64 `json:"live_bytes_per_subscription"`
	// Subscribed is how long it took until all subscriptions had caught up.
	Subscribed time.Duration `json:"subscribed_ns"`
	// Delivery is from the reply to an append until its delivery, 0 if that came first;
	// WholeWay is from when the append was to begin.
	Delivery load.Latency `json:"reply_to_delivery"`
	WholeWay load.Latency `json:"begin_to_delivery"`
	// Delivered is how many messages came in a second, Lasted how long that went on, and Seconds
	// how many came in each of its seconds.
	Delivered float64       `json:"delivered_per_second"`
	Lasted    time.Duration `json:"lasted_ns"`
	Seconds   []int64       `json:"delivered_by_second"`
	// Servers is what the nodes used meanwhile, for each message that was appended and delivered.
	Servers ServerUse `json:"servers"`
}

// Validate names the first field that is out of range.
func (c *TailConfig) Validate() error {
	if err := c.validate(); err != nil {
		return err
	}
	switch {
	case c.Subscriptions < 1 || c.Subscriptions > tidemark.MaxTailSubscriptions:
		return tidemark.Invalid("subscriptions", "must be 1 to %d; it is %d", tidemark.MaxTailSubscriptions, c.Subscriptions)
	case !(c.Rate > 0 && c.Rate <= 1e6): // also not a number
		return tidemark.Invalid("rate", "must be more than 0 and at most 1000000 a second; it is %v", c.Rate)
	case c.Duration < time.Second || c.Duration > time.Hour:
		return tidemark.Invalid("duration", "must be 1s to 1h; it is %v", c.Duration)
	case c.Rate*c.Duration.Seconds() > maxAppends:
		return tidemark.Invalid("duration", "must be short enough for at most %.0f appends at %v a second; it is %v", maxAppends, c.Rate, c.Duration)
	case c.Backlog < backlogTimelines || c.Backlog > 100e6:
		return tidemark.Invalid("backlog", "must be %d to 100000000 messages; it is %d", backlogTimelines, c.Backlog)
	case c.Payload < payloadHeader || c.Payload > tidemark.MaxPayloadBytes:
		return tidemark.Invalid("payload", "must be %d to %d bytes; it is %d", payloadHeader, tidemark.MaxPayloadBytes, c.Payload)
	}
	return nil
}

// Tail measures tails on the leader and on one follower, if there is one.
func Tail(ctx context.Context, c TailConfig) (*TailReport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	b := &tailBench{TailConfig: c, report: &TailReport{Subscriptions: c.Subscriptions, Rate: c.Rate, Payload: c.Payload, Backlog: c.Backlog}}
	var err error
	if b.writer, err = client.New(c.Endpoints); err != nil {
		return nil, err
	}
	defer b.writer.Close()
	nodes, err := b.nodes(ctx, b.writer)
	if err != nil {
		return nil, err
	}
	if err := b.fill(ctx); err != nil {
		return nil, err
	}
	for turn, node := range nodes {
		if err := b.measure(ctx, turn, node); err != nil {
			return nil, fmt.Errorf("%s: %w", node.endpoint, err)
		}
	}
	return b.report, nil
}

type tailBench struct {
	TailConfig
	writer *client.Client
	report *TailReport
}

func (b *tailBench) say(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}

func (b *tailBench) backlogTimeline(i int) tidemark.TimelineID {
	return tidemark.TimelineID(fmt.Sprintf("%s/backlog/%d", b.Prefix, i%backlogTimelines))
}

// fill writes the backlog.
func (b *tailBench) fill(ctx context.Context) error {
	b.say("writing %d messages to catch up with", b.Backlog)
	payload := make([]byte, b.Payload)
	return b.appendAll(ctx, b.Backlog, func(i int) (client.Draft, time.Time) {
		return client.Draft{Timeline: b.backlogTimeline(i), Payload: payload}, time.Time{}
	}, func(int) {})
}

// appendAll begins n appends, each at its time or at once, and calls replied when one is
// acknowledged. The first that fails is its error.
func (b *tailBench) appendAll(ctx context.Context, n int, next func(int) (client.Draft, time.Time), replied func(int)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var waiting sync.WaitGroup
	for i := range n {
		draft, at := next(i)
		if err := load.SleepUntil(ctx, at); err != nil {
			break
		}
		pending, err := b.writer.AppendAsync(ctx, draft)
		if err != nil {
			cancel(err)
			break
		}
		waiting.Go(func() {
			if _, err := pending.Wait(ctx); err != nil {
				cancel(err)
				return
			}
			replied(i)
		})
	}
	waiting.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// measure measures one node.
func (b *tailBench) measure(ctx context.Context, turn int, asked askedNode) error {
	node := TailOnNode{Endpoint: asked.endpoint, Leads: asked.leads}
	c, err := client.New([]string{node.Endpoint}, client.WithoutDiscovery())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := b.catchUp(ctx, c, &node); err != nil {
		return err
	}
	if node.Before, err = readMemory(ctx, asked.http); err != nil {
		return err
	}
	tail, err := c.Tail()
	if err != nil {
		return err
	}
	defer tail.Close()
	if err := b.subscribe(ctx, tail, &node); err != nil {
		return err
	}
	if node.With, err = readMemory(ctx, asked.http); err != nil {
		return err
	}
	node.BytesEach = float64(node.With.Live-node.Before.Live) / float64(b.Subscriptions)
	if err := b.live(ctx, tail, &node, turn); err != nil {
		return err
	}
	b.report.Nodes = append(b.report.Nodes, node)
	return nil
}

// catchUp follows the backlog from its beginning until it has come whole.
func (b *tailBench) catchUp(ctx context.Context, c *client.Client, node *TailOnNode) error {
	b.say("%s: catching up with %d messages", node.Endpoint, b.Backlog)
	tail, err := c.Tail()
	if err != nil {
		return err
	}
	defer tail.Close()
	begin := time.Now()
	for i := range backlogTimelines {
		if _, err := tail.Follow(b.backlogTimeline(i)); err != nil {
			return err
		}
	}
	for got := 0; got < b.Backlog; {
		event, err := tail.Next(ctx)
		if err == nil {
			err = event.Err
		}
		if err != nil {
			return fmt.Errorf("after %d of %d messages: %w", got, b.Backlog, err)
		}
		got += len(event.Messages)
	}
	node.CatchUp = float64(b.Backlog) / time.Since(begin).Seconds()
	return nil
}

func (b *tailBench) liveTimeline(i int) tidemark.TimelineID {
	return tidemark.TimelineID(fmt.Sprintf("%s/live/%d", b.Prefix, i))
}

// subscribe follows all timelines, from now on, until each has caught up.
func (b *tailBench) subscribe(ctx context.Context, tail *client.Tail, node *TailOnNode) error {
	b.say("%s: opening %d subscriptions", node.Endpoint, b.Subscriptions)
	begin := time.Now()
	followed := make(chan error, 1)
	go func() {
		for i := range b.Subscriptions {
			if _, err := tail.Follow(b.liveTimeline(i), client.FromNow()); err != nil {
				followed <- err
				return
			}
		}
		followed <- nil
	}()
	caughtUp := make(map[*client.Subscription]bool, b.Subscriptions)
	for len(caughtUp) < b.Subscriptions {
		event, err := tail.Next(ctx)
		if err == nil {
			err = event.Err
		}
		if err != nil {
			return err
		}
		if event.CaughtUp { // which comes again when the stream was interrupted
			caughtUp[event.Subscription] = true
		}
	}
	node.Subscribed = time.Since(begin)
	return <-followed
}

// delivery is one append of the live phase. Times are since the phase began; 0 is not yet.
type delivery struct{ replied, delivered atomic.Int64 }

// live appends at the rate and waits until everything has come.
func (b *tailBench) live(ctx context.Context, tail *client.Tail, node *TailOnNode, turn int) error {
	n := max(int(b.Rate*b.Duration.Seconds()), 1)
	b.say("%s: appending %d messages at %.0f a second", node.Endpoint, n, b.Rate)
	ctx, cancel := context.WithTimeout(ctx, b.Duration+settle)
	defer cancel()
	before, err := sampleServers(ctx, b.HTTP)
	if err != nil {
		return err
	}
	deliveries := make([]delivery, n)
	begin := time.Now()
	appended := make(chan error, 1)
	go func() {
		err := b.appendLive(ctx, deliveries, uint64(turn), begin)
		if err != nil {
			cancel() // so that nobody waits for what will not come
		}
		appended <- err
	}()
	if err := b.receive(ctx, tail, begin, deliveries, uint64(turn)); err != nil {
		cancel()
		return errors.Join(err, <-appended)
	}
	took := time.Since(begin)
	if err := <-appended; err != nil {
		return err
	}
	after, err := sampleServers(ctx, b.HTTP)
	if err != nil {
		return err
	}
	node.Servers = after.since(before).per("message", float64(n))
	node.Lasted, node.Delivered = took, float64(n)/took.Seconds()
	b.sumUp(node, deliveries)
	return nil
}

// planned is when an append is to begin, since the phase began.
func (b *tailBench) planned(i int) time.Duration {
	return time.Duration(float64(i) / b.Rate * float64(time.Second))
}

// appendLive makes the appends of a turn.
func (b *tailBench) appendLive(ctx context.Context, deliveries []delivery, turn uint64, begin time.Time) error {
	payload := make([]byte, b.Payload)
	binary.BigEndian.PutUint64(payload, turn)
	return b.appendAll(ctx, len(deliveries), func(i int) (client.Draft, time.Time) {
		binary.BigEndian.PutUint64(payload[8:], uint64(i))
		return client.Draft{Timeline: b.liveTimeline(rand.IntN(b.Subscriptions)), Payload: payload}, begin.Add(b.planned(i))
	}, func(i int) { deliveries[i].replied.Store(int64(time.Since(begin))) })
}

// sumUp says how long the deliveries took, and how many came in each second.
func (b *tailBench) sumUp(node *TailOnNode, deliveries []delivery) {
	delivery, wholeWay := load.NewHistogram(), load.NewHistogram()
	node.Seconds = make([]int64, node.Lasted/time.Second+1)
	for i := range deliveries {
		at := time.Duration(deliveries[i].delivered.Load())
		delivery.Record(at - time.Duration(deliveries[i].replied.Load()))
		wholeWay.Record(at - b.planned(i))
		node.Seconds[at/time.Second]++
	}
	node.Delivery, node.WholeWay = delivery.Latency(), wholeWay.Latency()
}

// receive notes when each message with the mark comes, and refuses one that comes twice.
// One of an earlier turn may come too, on a node that had not got it yet.
func (b *tailBench) receive(ctx context.Context, tail *client.Tail, begin time.Time, deliveries []delivery, mark uint64) error {
	for got := 0; got < len(deliveries); {
		event, err := tail.Next(ctx)
		if err == nil {
			err = event.Err
		}
		if err != nil {
			return fmt.Errorf("after %d of %d deliveries: %w", got, len(deliveries), err)
		}
		now := int64(time.Since(begin))
		for i := range event.Messages {
			m := &event.Messages[i]
			if len(m.Payload) < payloadHeader || !strings.HasPrefix(string(m.Timeline), b.Prefix) {
				return fmt.Errorf("a message came that was not sent: %s %d", m.Timeline, m.SeqID)
			}
			if binary.BigEndian.Uint64(m.Payload) != mark {
				continue
			}
			number := binary.BigEndian.Uint64(m.Payload[8:])
			if number >= uint64(len(deliveries)) || !deliveries[number].delivered.CompareAndSwap(0, now) {
				return fmt.Errorf("message %d of %s came twice, or was not sent", m.SeqID, m.Timeline)
			}
			got++
		}
	}
	return nil
}

// Page implements Report.
func (r *TailReport) Page() htmlreport.Page {
	show := newRuns("DELIVERED/S")
	subscriptions := htmlreport.Table{Title: "Subscriptions", Numbers: 2, Head: []string{"NODE", "ROLE", "CATCH-UP/S", "BYTES EACH", "SUBSCRIBED IN"}}
	for i := range r.Nodes {
		n := &r.Nodes[i]
		role := askedNode{leads: n.Leads}.role()
		subscriptions.Rows = append(subscriptions.Rows, []string{n.Endpoint, role, wholeNumber(n.CatchUp), wholeNumber(n.BytesEach), n.Subscribed.Round(time.Millisecond).String()})
		show.add(role+", reply to delivery", load.Measured{Latency: n.Delivery, Seconds: n.Seconds, Lasted: n.Lasted}, 1, wholeNumber(n.Delivered))
		show.add(role+", begin to delivery", load.Measured{Latency: n.WholeWay}, 1, wholeNumber(n.Delivered))
		show.use(role, n.Servers)
	}
	page := show.page("deliveries/s", []htmlreport.Setting{
		numberSetting("subscriptions", r.Subscriptions), {Name: "appends in a second, open loop", Value: fmt.Sprint(r.Rate)},
		numberSetting("bytes of a message", r.Payload), numberSetting("messages to catch up with", r.Backlog), machine(),
	})
	page.Tables = append([]htmlreport.Table{subscriptions}, page.Tables...)
	return page
}
