// Package transfer moves whole files of messages into and out of a cluster.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/internal/exchange"
)

// DefaultInFlight is how many messages an import has under way: enough to keep a
// cluster busy, and to lose sight of few when it is interrupted.
const DefaultInFlight = 2048

// Import says how to import.
type Import struct {
	// InFlight bounds the messages that are sent and not acknowledged; DefaultInFlight if 0.
	InFlight int
	// SkipInvalid goes on after a line that is broken or refused.
	SkipInvalid bool
	// Sending, if not nil, is called with each message before it is sent.
	Sending func(tidemark.Draft)
	// Acknowledged, if not nil, is called with each acknowledgement, in the order of
	// the lines. An error of either ends the import.
	Acknowledged func(*client.AppendResult) error
	// Rejected, if not nil, is called with each line that is skipped.
	Rejected func(*exchange.LineError)
}

// Summary says what an import has done.
type Summary struct {
	// Messages were acknowledged, and Duplicates of them were there before.
	Messages, Duplicates int
	// Rejected lines were skipped.
	Rejected int
	// LeftOut are lines of inboxes, of which an import of history has none.
	LeftOut int
	Elapsed time.Duration
}

// Rate is in messages a second.
func (s Summary) Rate() float64 { return float64(s.Messages) / max(s.Elapsed.Seconds(), 1e-9) }

// sent is a line that is under way.
type sent struct {
	line    int
	pending *client.Pending
}

// Run imports all lines. The order of the lines is kept within each timeline. At an
// error it stops sending and waits for what is under way; the error names the line.
// Run may be repeated with the same lines: what is there already is a duplicate.
func (i *Import) Run(ctx context.Context, c *client.Client, lines *exchange.Reader) (Summary, error) {
	begin := time.Now()
	inFlight := i.InFlight
	if inFlight == 0 {
		inFlight = DefaultInFlight
	}
	flight := make(chan sent, inFlight)
	feeding, stopFeeding := context.WithCancel(ctx)
	defer stopFeeding()
	fed := make(chan error, 1)
	var broken int
	go func() {
		defer close(flight)
		var err error
		broken, err = i.feed(ctx, feeding, c, lines, flight)
		fed <- err
	}()

	var summary Summary
	var failed error
	for s := range flight {
		err := i.collect(ctx, s, &summary)
		if err != nil && failed == nil {
			failed = err
			stopFeeding()
		}
	}
	err := <-fed
	if failed != nil {
		// The feeder was stopped for it.
		err = failed
	}
	summary.Rejected += broken
	summary.Elapsed = time.Since(begin)
	return summary, err
}

// feed sends line after line until feeding ends. The appends themselves live as long as ctx.
func (i *Import) feed(ctx, feeding context.Context, c *client.Client, lines *exchange.Reader, flight chan<- sent) (broken int, err error) {
	for {
		draft, line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return broken, nil
		}
		if lineErr, ok := errors.AsType[*exchange.LineError](err); ok && i.SkipInvalid {
			i.reject(lineErr)
			broken++
			continue
		}
		if err != nil {
			return broken, err
		}
		if feeding.Err() != nil {
			return broken, feeding.Err()
		}
		if i.Sending != nil {
			i.Sending(draft)
		}
		pending, err := c.AppendAsync(ctx, clientDraft(&draft))
		if err != nil {
			return broken, &exchange.LineError{Line: line, Err: err}
		}
		select {
		case flight <- sent{line, pending}:
		case <-ctx.Done():
			return broken, ctx.Err()
		}
	}
}

func (i *Import) collect(ctx context.Context, s sent, summary *Summary) error {
	result, err := s.pending.Wait(ctx)
	if err != nil {
		lineErr := &exchange.LineError{Line: s.line, Err: err}
		if i.SkipInvalid && refused(err) {
			i.reject(lineErr)
			summary.Rejected++
			return nil
		}
		return lineErr
	}
	summary.Messages++
	if result.Duplicate {
		summary.Duplicates++
	}
	if i.Acknowledged != nil {
		return i.Acknowledged(result)
	}
	return nil
}

func (i *Import) reject(err *exchange.LineError) {
	if i.Rejected != nil {
		i.Rejected(err)
	}
}

// refused reports whether the cluster will never take the message.
func refused(err error) bool {
	return errors.Is(err, tidemark.ErrInvalid) || errors.Is(err, tidemark.ErrMessageIDConflict)
}

func clientDraft(d *tidemark.Draft) client.Draft {
	return client.Draft{
		Timeline: d.Timeline, ID: d.ID, Sender: d.Sender, Type: d.Type, Payload: d.Payload,
		Attributes: d.Attributes.Map(), ClientTime: d.ClientTime.Go(),
	}
}

// String is for people.
func (s Summary) String() string {
	leftOut := ""
	if s.LeftOut > 0 {
		leftOut = fmt.Sprintf("%d lines of inboxes left out, ", s.LeftOut)
	}
	return fmt.Sprintf("%d messages, %d of them there before, %d lines rejected, %sin %v (%.0f messages/s)",
		s.Messages, s.Duplicates, s.Rejected, leftOut, s.Elapsed.Round(time.Millisecond), s.Rate())
}
