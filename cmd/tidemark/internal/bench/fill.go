package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"

	"tidemark"
	"tidemark/client"
)

// sender is who sends what benches append.
const sender = "bench"

const (
	// fillers is how many batches are under way while timelines are filled.
	fillers = 8
	// fillMessages and fillBytes bound one of them.
	fillMessages = 512
	fillBytes    = 1 << 20
)

// newPayload is of bytes that do not compress.
func newPayload(size int) []byte {
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(rand.Uint32())
	}
	return payload
}

// roundRobin yields each of the timelines once, and all of them again so often.
func roundRobin(n, times int, timeline func(int) tidemark.TimelineID) iter.Seq[tidemark.TimelineID] {
	return func(yield func(tidemark.TimelineID) bool) {
		for range times {
			for i := range n {
				if !yield(timeline(i)) {
					return
				}
			}
		}
	}
}

// fill appends a message to each of the timelines, as often as it comes.
func (p *Plan) fill(ctx context.Context, writer *client.Client, timelines iter.Seq[tidemark.TimelineID], payload []byte) error {
	size := min(fillMessages, max(fillBytes/(len(payload)+1), 1))
	filled := 0
	err := inParallel(ctx, fillers, inBatches(timelines, size, func(timeline tidemark.TimelineID) client.Draft {
		filled++
		return client.Draft{Timeline: timeline, Sender: sender, Payload: payload}
	}), func(ctx context.Context, batch []client.Draft) error {
		ctx, cancel := context.WithTimeout(ctx, p.Timeout)
		defer cancel()
		_, err := writer.AppendBatch(ctx, batch)
		return err
	})
	if err != nil {
		return fmt.Errorf("fill the timelines: %w", err)
	}
	p.say("appended %d messages", filled)
	return nil
}

// filled appends so many messages to each of the timelines by number, and finds a leader and a
// follower.
func (p *Plan) filled(ctx context.Context, timelines, messages, payload int) ([]askedNode, error) {
	writer, err := client.New(p.Endpoints)
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	if err := p.fill(ctx, writer, roundRobin(timelines, messages, p.timeline), newPayload(payload)); err != nil {
		return nil, err
	}
	return p.nodes(ctx, writer)
}

// reader is a client of one node, which has everything that the timelines by number were filled
// with. A session of it has seen that, so that a read at that level is as the writer's.
func (p *Plan) reader(ctx context.Context, node askedNode, timelines int) (*client.Client, error) {
	c, err := client.New([]string{node.endpoint}, client.WithoutDiscovery())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if _, err := c.Timeline(ctx, p.timeline(timelines-1)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// inParallel has n workers do what is handed to them. The first error ends it.
func inParallel[T any](ctx context.Context, n int, produce func(hand func(T) bool), do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	items := make(chan T)
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for item := range items {
				if err := do(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
	produce(func(item T) bool {
		select {
		case items <- item:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(items)
	workers.Wait()
	return context.Cause(ctx)
}

// inBatches hands over a draft for each of the timelines, as often as it comes, size at a
// time, until hand returns false.
func inBatches(timelines iter.Seq[tidemark.TimelineID], size int, draft func(tidemark.TimelineID) client.Draft) func(hand func([]client.Draft) bool) {
	return func(hand func([]client.Draft) bool) {
		var batch []client.Draft
		for timeline := range timelines {
			batch = append(batch, draft(timeline))
			if len(batch) < size {
				continue
			}
			if !hand(batch) {
				return
			}
			batch = nil
		}
		if len(batch) > 0 {
			hand(batch)
		}
	}
}
