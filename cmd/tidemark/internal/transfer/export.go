package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/internal/exchange"
	"tidemark/internal/history"
)

// Export says what to export.
type Export struct {
	// Prefix of the timelines' ids; empty for all.
	Prefix string
	// Total, if not nil, is told how many messages there will be.
	Total func(messages uint64)
	// Written, if not nil, is called after each message.
	Written func()
}

// Run writes all timelines in byte order of their ids, each in order of SeqId. It
// writes every timeline as it was when they were listed, and nothing appended
// since. It checks what it writes: SeqIds dense, digests those of the content, and
// the last digest that of the listing.
func (e *Export) Run(ctx context.Context, c *client.Client, w *exchange.Writer) (Summary, error) {
	begin := time.Now()
	var summary Summary
	var heads []client.Timeline
	var total uint64
	for head, err := range c.Timelines(ctx, e.Prefix) {
		if err != nil {
			return summary, err
		}
		heads = append(heads, head)
		total += head.Count
	}
	if e.Total != nil {
		e.Total(total)
	}
	for _, head := range heads {
		n, err := e.timeline(ctx, c, w, head)
		if errors.Is(err, tidemark.ErrTimelineNotFound) {
			continue // it was deleted since it was listed
		}
		summary.Messages += n
		if err != nil {
			return summary, fmt.Errorf("export timeline %q: %w", head.ID, err)
		}
	}
	summary.Elapsed = time.Since(begin)
	return summary, nil
}

func (e *Export) timeline(ctx context.Context, c *client.Client, w *exchange.Writer, head client.Timeline) (n int, err error) {
	chain := history.NewChainAt(head.ID, head.First, head.TrimmedDigest)
	// The session has seen the listing, so it sees what was listed.
	for message, err := range c.Messages(ctx, head.ID, client.Session()) {
		if err != nil {
			return n, err
		}
		if message.SeqID > head.Last {
			break
		}
		if message.SeqID > chain.Last()+1 {
			return n, fmt.Errorf("messages %d to %d were trimmed while they were exported; export again", chain.Last()+1, message.SeqID-1)
		}
		if err := chain.Add(&message); err != nil {
			return n, err
		}
		words, err := Words(&message)
		if err != nil {
			return n, err
		}
		record := exchange.FromMessage(words)
		if n == 0 && head.First > 1 {
			record.PreviousDigest = head.TrimmedDigest.String()
		}
		if err := w.WriteRecord(record); err != nil {
			return n, err
		}
		n++
		if e.Written != nil {
			e.Written()
		}
	}
	if head.Count == 0 {
		return 0, nil
	}
	if chain.Last() != head.Last || chain.Digest() != head.Digest {
		return n, fmt.Errorf("%w: read up to message %d with digest %v, but %d with %v was listed",
			tidemark.ErrCorrupt, chain.Last(), chain.Digest(), head.Last, head.Digest)
	}
	return n, nil
}

// Words renders a message of the SDK in the words of the root package.
func Words(m *client.Message) (*tidemark.Message, error) {
	draft, err := m.Tidemark()
	if err != nil {
		return nil, err
	}
	serverTime, err := tidemark.TimeOf("server_time", m.ServerTime)
	if err != nil {
		return nil, err
	}
	return &tidemark.Message{Draft: draft, SeqID: m.SeqID, ServerTime: serverTime, Digest: m.Digest, Source: m.Source, Revision: m.Revision, Revises: m.Revises}, nil
}
