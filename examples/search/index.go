package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/keyword"
	"github.com/blevesearch/bleve/v2/mapping"

	"tidemark"
	"tidemark/client"
)

// Index is a full-text index over all timelines. It is brought up to date from the change
// feed: each batch of documents is written together with the position behind it, all or
// nothing, so that a crash at any point leaves an index that goes on where it was, with no
// message missing and none twice. One process at a time may have an index open.
type Index struct {
	bleve bleve.Index
	// at is the position that the index has.
	at tidemark.ChangePosition
}

// Hit is one message that a query found.
type Hit struct {
	Timeline, Sender, Body, MessageID string
	SeqID                             uint64
	Time                              time.Time
}

// document is a message as it is indexed.
type document struct {
	Timeline  string    `json:"timeline"`
	SeqID     float64   `json:"seq_id"`
	MessageID string    `json:"message_id"`
	Sender    string    `json:"sender"`
	Body      string    `json:"body"`
	Time      time.Time `json:"time"`
}

// What the index keeps beside the documents. keyPosition holds the position in the change
// feed, and keyFirst with a timeline's id the first SeqId of it that may have a document.
var keyPosition = []byte("position")

func keyFirst(timeline tidemark.TimelineID) []byte { return []byte("first/" + string(timeline)) }

// OpenIndex opens the index in dir, and makes it if there is none.
func OpenIndex(dir string) (*Index, error) {
	index, err := bleve.Open(dir)
	if errors.Is(err, bleve.ErrorIndexPathDoesNotExist) {
		index, err = bleve.New(dir, indexMapping())
	}
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", dir, err)
	}
	x := &Index{bleve: index}
	token, err := index.GetInternal(keyPosition)
	if err == nil {
		x.at, err = tidemark.ParseChangePosition("position", token)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open index %s: %w", dir, err), index.Close())
	}
	return x, nil
}

func indexMapping() mapping.IndexMapping {
	name := bleve.NewTextFieldMapping()
	name.Analyzer = keyword.Name
	message := bleve.NewDocumentStaticMapping()
	message.AddFieldMappingsAt("timeline", name)
	message.AddFieldMappingsAt("message_id", name)
	message.AddFieldMappingsAt("sender", name)
	message.AddFieldMappingsAt("body", bleve.NewTextFieldMapping())
	message.AddFieldMappingsAt("seq_id", bleve.NewNumericFieldMapping())
	message.AddFieldMappingsAt("time", bleve.NewDateTimeFieldMapping())
	m := bleve.NewIndexMapping()
	m.DefaultMapping = message
	return m
}

// Close closes the index.
func (x *Index) Close() error { return x.bleve.Close() }

// Count is how many messages the index holds.
func (x *Index) Count() (uint64, error) { return x.bleve.DocCount() }

// Follow brings the index up to date, and goes on as messages come until ctx ends; or
// returns nil when it has caught up, if once is set. The error wraps
// tidemark.ErrChangesTrimmed if the index has missed changes that are not retained any
// more: it is to be made anew then.
func (x *Index) Follow(ctx context.Context, c *client.Client, once bool) error {
	feed, err := c.Changes(client.ChangesFrom(x.at), client.ChangesAt(client.Linearizable()))
	if err != nil {
		return err
	}
	defer feed.Close()
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		if err := x.apply(ctx, c, &batch); err != nil {
			return err
		}
		if batch.CaughtUp && once {
			return nil
		}
	}
}

// apply writes what a batch changes, and the position behind it, at one go.
func (x *Index) apply(ctx context.Context, c *client.Client, changes *client.ChangeBatch) error {
	w := writer{ctx: ctx, client: c, bleve: x.bleve, batch: x.bleve.NewBatch(), first: make(map[tidemark.TimelineID]tidemark.SeqID)}
	for i := range changes.Changes {
		if err := w.change(&changes.Changes[i]); err != nil {
			return err
		}
	}
	for timeline, first := range w.first {
		w.batch.SetInternal(keyFirst(timeline), binary.BigEndian.AppendUint64(nil, uint64(first)))
	}
	w.batch.SetInternal(keyPosition, changes.Position.Token())
	if err := x.bleve.Batch(w.batch); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	x.at = changes.Position
	return nil
}

// writer gathers what one batch of changes does to the index.
type writer struct {
	ctx    context.Context
	client *client.Client
	bleve  bleve.Index
	batch  *bleve.Batch
	// first are the first SeqIds of the timelines that the batch has touched.
	first map[tidemark.TimelineID]tidemark.SeqID
}

// documentID is a message's for all time: to index it again would replace it.
func documentID(timeline tidemark.TimelineID, seq tidemark.SeqID) string {
	return fmt.Sprintf("%s/%d", timeline, seq)
}

func (w *writer) change(c *client.Change) error {
	first, err := w.firstOf(c.Timeline, c.SeqID)
	if err != nil {
		return err
	}
	switch c.Kind {
	case tidemark.ChangeAppended:
		switch {
		case c.Message == nil:
			return nil // it is gone already
		case c.Message.Revises != nil:
			return w.revised(c.Timeline, c.Message.Revises)
		default:
			return w.index(c.Message)
		}
	case tidemark.ChangeTrimmed:
		w.remove(c.Timeline, first, c.SeqID)
	case tidemark.ChangeDeleted:
		w.remove(c.Timeline, first, c.SeqID+1)
	}
	return nil
}

// index indexes a message as it is, unless it is no text or was redacted: then it is not
// to be found.
func (w *writer) index(m *client.Message) error {
	id := documentID(m.Timeline, m.SeqID)
	if !utf8.Valid(m.Payload) || m.Revision != nil && m.Revision.Redacted {
		w.batch.Delete(id)
		return nil
	}
	return w.batch.Index(id, document{
		Timeline: string(m.Timeline), SeqID: float64(m.SeqID), MessageID: string(m.ID), Sender: m.Sender, Body: string(m.Payload), Time: m.ServerTime,
	})
}

// revised indexes a message again that was edited, and forgets one that was redacted.
func (w *writer) revised(timeline tidemark.TimelineID, r *tidemark.Revises) error {
	if r.Redacted {
		w.batch.Delete(documentID(timeline, r.SeqID))
		return nil
	}
	m, err := w.client.Get(w.ctx, timeline, r.SeqID)
	if errors.Is(err, tidemark.ErrMessageNotFound) || errors.Is(err, tidemark.ErrTimelineNotFound) {
		return nil // a later change takes it away
	}
	if err != nil {
		return err
	}
	return w.index(&m)
}

// firstOf is the first SeqId of a timeline that may have a document; seen, if none is known.
func (w *writer) firstOf(timeline tidemark.TimelineID, seen tidemark.SeqID) (tidemark.SeqID, error) {
	if first, known := w.first[timeline]; known {
		return first, nil
	}
	value, err := w.bleve.GetInternal(keyFirst(timeline))
	if err != nil {
		return 0, fmt.Errorf("read index: %w", err)
	}
	first := seen
	if len(value) == 8 {
		first = tidemark.SeqID(binary.BigEndian.Uint64(value))
	}
	w.first[timeline] = first
	return first, nil
}

// remove removes the documents of a timeline from first to the one before end.
func (w *writer) remove(timeline tidemark.TimelineID, first, end tidemark.SeqID) {
	for seq := first; seq < end; seq++ {
		w.batch.Delete(documentID(timeline, seq))
	}
	w.first[timeline] = max(first, end)
}

// Search returns the messages that best match a query in Bleve's query string syntax, at
// most limit of them, and how many match: word +must -mustnot "a phrase" sender:alice.
func (x *Index) Search(ctx context.Context, text string, limit int) (hits []Hit, total uint64, err error) {
	request := bleve.NewSearchRequestOptions(bleve.NewQueryStringQuery(text), limit, 0, false)
	request.Fields = []string{"*"}
	found, err := x.bleve.SearchInContext(ctx, request)
	if err != nil {
		return nil, 0, fmt.Errorf("search %q: %w", text, err)
	}
	for _, match := range found.Hits {
		hits = append(hits, hitOf(match.Fields))
	}
	return hits, found.Total, nil
}

func hitOf(fields map[string]any) (h Hit) {
	text := func(name string) string { s, _ := fields[name].(string); return s }
	seq, _ := fields["seq_id"].(float64)
	at, _ := time.Parse(time.RFC3339, text("time"))
	return Hit{Timeline: text("timeline"), Sender: text("sender"), Body: text("body"), MessageID: text("message_id"), SeqID: uint64(seq), Time: at}
}
