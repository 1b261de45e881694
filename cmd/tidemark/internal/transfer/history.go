package transfer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/internal/exchange"
)

const (
	// historyMessages and historyBytes bound one call: it is one log entry.
	historyMessages = 500
	historyBytes    = 256 << 10
)

// History imports lines with the SeqIDs and server times that they have.
type History struct {
	// Imported, if not nil, is told how many messages were imported with each call.
	Imported func(int)
}

// part is what goes into one call: contiguous messages of one timeline.
type part struct {
	timeline tidemark.TimelineID
	previous tidemark.Digest
	messages []client.Message
	bytes    int
	line     int // of the first message
}

// fits says whether the message goes on where the part ends.
func (p *part) fits(m *client.Message, size int) bool {
	n := len(p.messages)
	return n == 0 || n < historyMessages && p.bytes+size <= historyBytes &&
		m.Timeline == p.timeline && m.SeqID == p.messages[n-1].SeqID+1
}

// Run imports all lines. It may be repeated with the same lines. At an error the lines
// before the one that it names are imported. Timelines with entries of inboxes are left out.
func (h *History) Run(ctx context.Context, c *client.Client, lines *exchange.Reader) (summary Summary, err error) {
	begin := time.Now()
	defer func() { summary.Elapsed = time.Since(begin) }()
	var next part
	inbox := tidemark.TimelineID("") // the last one that was met
	for {
		record, line, err := lines.NextRecord()
		var m client.Message
		var previous tidemark.Digest
		if err == nil && record.Source != nil && tidemark.TimelineID(record.Timeline) == next.timeline {
			err = &exchange.LineError{Line: line, Err: tidemark.Invalid("source", "must not be in a timeline that has messages of its own before it: take its lines out")}
		} else if err == nil && (record.Source != nil || inbox != "" && tidemark.TimelineID(record.Timeline) == inbox) {
			inbox = tidemark.TimelineID(record.Timeline)
			summary.LeftOut++
			continue
		}
		if err == nil && (record.Revision != nil || record.Revises != nil) {
			err = &exchange.LineError{Line: line, Err: tidemark.Invalid("revision", "must not be in a history: import the timeline without --history, which takes messages as they are now")}
		}
		if err == nil {
			if m, previous, err = messageOf(&record); err != nil {
				err = &exchange.LineError{Line: line, Err: err}
			}
		}
		if err != nil {
			if sendErr := h.send(ctx, c, &next, &summary); sendErr != nil || errors.Is(err, io.EOF) {
				err = sendErr
			}
			return summary, err
		}
		size := len(m.Payload) + len(m.ID) + len(m.Sender) + len(m.Type) + 128
		for key, value := range m.Attributes {
			size += len(key) + len(value) + 8
		}
		if !next.fits(&m, size) {
			if err := h.send(ctx, c, &next, &summary); err != nil {
				return summary, err
			}
			next = part{}
		}
		if len(next.messages) == 0 {
			next = part{timeline: m.Timeline, previous: previous, line: line}
		}
		next.messages, next.bytes = append(next.messages, m), next.bytes+size
	}
}

func (h *History) send(ctx context.Context, c *client.Client, p *part, summary *Summary) error {
	n := len(p.messages)
	if n == 0 {
		return nil
	}
	imported, err := c.Import(ctx, p.timeline, p.previous, p.messages)
	if err != nil {
		return &exchange.LineError{Line: p.line, Err: fmt.Errorf("%d messages from here on, %s %d to %d: %w",
			n, p.timeline, p.messages[0].SeqID, p.messages[n-1].SeqID, err)}
	}
	summary.Messages += n
	summary.Duplicates += imported.Duplicates
	if h.Imported != nil {
		h.Imported(n)
	}
	return nil
}

// messageOf is the message of a record, with the digest before it if the record has it.
func messageOf(r *exchange.Record) (m client.Message, previous tidemark.Digest, err error) {
	draft, err := r.Draft()
	if err != nil {
		return m, previous, err
	}
	if r.SeqID == 0 || r.ServerTime == nil {
		return m, previous, tidemark.Invalid("seq_id", "and server_time must be there: it is no export")
	}
	m = client.Message{Draft: clientDraft(&draft), SeqID: tidemark.SeqID(r.SeqID), ServerTime: *r.ServerTime}
	for _, digest := range []struct {
		field, text string
		to          *tidemark.Digest
	}{{"digest", r.Digest, &m.Digest}, {"previous_digest", r.PreviousDigest, &previous}} {
		if digest.text == "" {
			continue
		}
		bytes, err := hex.DecodeString(digest.text)
		if err != nil || len(bytes) != len(digest.to) {
			return m, previous, tidemark.Invalid(digest.field, "must be 32 hexadecimal digits; it is %q", digest.text)
		}
		copy(digest.to[:], bytes)
	}
	return m, previous, nil
}
