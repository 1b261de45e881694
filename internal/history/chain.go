// Package history proves what a timeline holds: that its SeqIDs are dense, that
// its digests are those of the messages, and that it holds what was sent. It takes
// everything through the Go SDK, as any client could.
package history

import (
	"context"
	"fmt"

	"tidemark"
	"tidemark/client"
)

// Chain checks the messages of one timeline, from the first one on. It is for one
// goroutine.
type Chain struct {
	timeline tidemark.TimelineID
	last     tidemark.SeqID
	digest   tidemark.Digest
	time     tidemark.Time
}

// NewChain expects the message with SeqID 1 first.
func NewChain(timeline tidemark.TimelineID) *Chain {
	return &Chain{timeline: timeline, digest: tidemark.InitialDigest(timeline), time: tidemark.NoTime}
}

// NewChainAt expects the message with the SeqID first, and takes previous for the digest
// before it.
func NewChainAt(timeline tidemark.TimelineID, first tidemark.SeqID, previous tidemark.Digest) *Chain {
	if first <= 1 {
		return NewChain(timeline)
	}
	return &Chain{timeline: timeline, last: first - 1, digest: previous, time: tidemark.NoTime}
}

// Add checks the next message: its SeqID is the next one, its server time does not
// run backwards, and its digest is the one that its content gives. An error wraps
// tidemark.ErrCorrupt.
func (c *Chain) Add(m *client.Message) error {
	if m.Timeline != c.timeline {
		return c.broken(m, "belongs to timeline %q", m.Timeline)
	}
	if m.SeqID != c.last+1 {
		return c.broken(m, "follows message %d", c.last)
	}
	serverTime, err := tidemark.TimeOf("server_time", m.ServerTime)
	if err != nil || serverTime < c.time {
		return c.broken(m, "has server time %v, before that of the message before it", m.ServerTime)
	}
	digest, err := m.NextDigest(c.digest)
	if err != nil {
		return c.broken(m, "has a wrong time: %v", err)
	}
	if digest != m.Digest {
		return c.broken(m, "has digest %v, but its content gives %v", m.Digest, digest)
	}
	c.last, c.digest, c.time = m.SeqID, digest, serverTime
	return nil
}

func (c *Chain) broken(m *client.Message, format string, args ...any) error {
	return fmt.Errorf("%w: timeline %q, message %d %s", tidemark.ErrCorrupt, c.timeline, m.SeqID, fmt.Sprintf(format, args...))
}

// Last is the SeqID of the last message that was added, 0 before the first.
func (c *Chain) Last() tidemark.SeqID { return c.last }

// Digest is that of the last message that was added.
func (c *Chain) Digest() tidemark.Digest { return c.digest }

// Read reads a whole timeline at a level and checks it.
func Read(ctx context.Context, c *client.Client, timeline tidemark.TimelineID, level client.Consistency) ([]client.Message, error) {
	chain := NewChain(timeline)
	var messages []client.Message
	for message, err := range c.Messages(ctx, timeline, level) {
		if err != nil {
			return nil, err
		}
		if err := chain.Add(&message); err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
	return messages, nil
}
