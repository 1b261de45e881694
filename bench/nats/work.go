package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/bench/system"
	"tidemark/internal/load"
)

const (
	// maxPending is how many messages may be published and not acknowledged.
	maxPending = 4096
	// fillPending is the same while the timelines are filled: below maxPending, at which a
	// publisher gives up when nothing is acknowledged for 200 ms.
	fillPending = 1024
)

func subject(n int) string { return "tl." + strconv.Itoa(n) }

func message(n int) *nats.Msg {
	return &nats.Msg{Subject: subject(n), Header: nats.Header{jetstream.MsgIDHeader: {system.NewID().String()}}, Data: system.NewPayload()}
}

// Fill implements system.Cluster. Message m of timeline n is number (m-1)·Timelines+n+1 of
// the stream: one publisher after the other, on one connection.
func (c *cluster) Fill(ctx context.Context) error {
	connection, js, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer connection.Close()
	pending := make(chan jetstream.PubAckFuture, fillPending)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for ack := range pending {
			if err := wait(ctx, ack); err != nil {
				failed <- err
				break
			}
		}
		for range pending { // the publisher may not notice at once
		}
	}()
	err = system.FillInBatches(ctx, 1, 1, func(_ context.Context, _, n, _ int) error {
		select {
		case err := <-failed:
			return err
		default:
		}
		ack, err := js.PublishMsgAsync(message(n))
		if err == nil {
			pending <- ack
		}
		return err
	})
	close(pending)
	if err != nil {
		return err
	}
	return <-failed
}

func wait(ctx context.Context, ack jetstream.PubAckFuture) error {
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Open implements system.Cluster.
func (c *cluster) Open(ctx context.Context, kind system.Kind, way string, callers int) (*system.Driver, error) {
	connection, js, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	d := &system.Driver{Close: connection.Close}
	switch {
	case kind == system.Append:
		d.Call = func(ctx context.Context, _ int) error {
			_, err := js.PublishMsg(ctx, message(system.AnyTimeline()))
			return err
		}
	case kind == system.Pipelined:
		d.Call = func(ctx context.Context, _ int) error {
			ack, err := js.PublishMsgAsync(message(system.AnyTimeline()))
			if err != nil {
				return err
			}
			return wait(ctx, ack)
		}
	case way == wayDirectGet:
		d.Call, err = directGet(connection, callers)
	case way == wayConsumer:
		d.Call = fetch(js, callers)
	case way == wayOrdered:
		d.CatchUp = func(ctx context.Context) error { return catchUp(ctx, js) }
	default:
		err = system.UnknownWay(kind, way)
	}
	if err != nil {
		connection.Close()
		return nil, err
	}
	return d, nil
}

// batchRequest asks for the messages of one subject, from a number of the stream on.
type batchRequest struct {
	Seq     int    `json:"seq"`
	Batch   int    `json:"batch"`
	Subject string `json:"next_by_subj"`
}

// directGet reads pages by the batch get of the server, for which nats.go has no call.
// Each caller has an inbox.
func directGet(connection *nats.Conn, callers int) (func(context.Context, int) error, error) {
	inboxes := make([]*nats.Subscription, callers)
	for i := range inboxes {
		var err error
		if inboxes[i], err = connection.SubscribeSync(nats.NewInbox()); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, caller int) error {
		n, inbox := system.AnyTimeline(), inboxes[caller]
		body, err := json.Marshal(batchRequest{(system.AnyPage()-1)*system.Timelines + n + 1, system.Page, subject(n)})
		if err != nil {
			return err
		}
		if err := connection.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox.Subject, body); err != nil {
			return err
		}
		for got := 0; ; got++ {
			reply, err := inbox.NextMsgWithContext(ctx)
			if err != nil {
				return err
			}
			// The end has no data but a status.
			if status := reply.Header.Get("Status"); status == "204" && got == system.Page {
				return nil
			} else if status != "" {
				return fmt.Errorf("a page ends after %d messages: %s %s", got, status, reply.Header.Get("Description"))
			}
		}
	}, nil
}

const (
	// fetchTimeout is how long a fetch may take, and inactive how long a consumer stays that is
	// not used: longer than the two fetches may be apart.
	fetchTimeout = 10 * time.Second
	inactive     = 10 * time.Second
	// heardOf is how long a node may take to hear of a consumer.
	heardOf = time.Millisecond
	// pagesOfConsumer is how many pages a timeline has.
	pagesOfConsumer = system.Backlog / system.Page
)

// fetch reads pages by a consumer for each timeline, which is made anew for every second page.
func fetch(js jetstream.JetStream, callers int) func(context.Context, int) error {
	type reading struct {
		consumer jetstream.Consumer
		pages    int
	}
	readings := make([]reading, callers)
	return func(ctx context.Context, caller int) error {
		r := &readings[caller]
		if r.pages == 0 {
			var err error
			r.consumer, err = js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
				FilterSubject: subject(system.AnyTimeline()), AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: inactive,
			})
			if err != nil {
				return err
			}
			r.pages = pagesOfConsumer
		}
		r.pages--
		err := fetchPage(r.consumer)
		// The node that we are connected to may not have heard of a new consumer yet.
		for errors.Is(err, nats.ErrNoResponders) && load.SleepUntil(ctx, time.Now().Add(heardOf)) == nil {
			err = fetchPage(r.consumer)
		}
		return err
	}
}

func fetchPage(consumer jetstream.Consumer) error {
	page, err := consumer.Fetch(system.Page, jetstream.FetchMaxWait(fetchTimeout))
	if err != nil {
		return err
	}
	got := 0
	for range page.Messages() {
		got++
	}
	if page.Error() == nil && got != system.Page {
		return fmt.Errorf("a page has %d messages", got)
	}
	return page.Error()
}

func catchUp(ctx context.Context, js jetstream.JetStream) error {
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"tl.>"}})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for range system.Timelines * system.Backlog {
		if _, err := messages.Next(jetstream.NextContext(ctx)); err != nil {
			return err
		}
	}
	return nil
}
