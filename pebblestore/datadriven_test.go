package pebblestore_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

// TestTranscripts runs the transcripts in testdata; see transcript.run for their commands.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		run := &transcript{fs: vfs.NewMem()}
		run.store = storetest.Open(t, run.fs)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := run.run(t, d)
			if err != nil {
				out += fmt.Sprintf("error: %v\n", err)
			}
			return out
		})
	})
}

type transcript struct {
	fs    vfs.FS
	store *pebblestore.Store
}

func (r *transcript) run(t *testing.T, d *datadriven.TestData) (string, error) {
	a := args{t, d}
	switch d.Cmd {
	case "batch":
		return r.batch(t, d)
	case "read":
		return r.read(a)
	case "get":
		m, applied, err := r.store.Get(a.timeline(), a.seq("seq"))
		return showMessage(&m, applied, err)
	case "get-id":
		m, applied, err := r.store.GetByID(a.timeline(), tidemark.MessageID(a.text("id")))
		return showMessage(&m, applied, err)
	case "head":
		h, applied, err := r.store.GetHead(a.timeline())
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s applied=%d\n", showHead(&h), applied), nil
	case "timelines":
		page, err := r.store.Timelines(a.text("prefix"), tidemark.TimelineID(a.text("after")), a.number("limit", 10))
		return showHeads(&page), err
	case "cursor":
		c, found, err := r.store.Cursor(a.timeline(), tidemark.ReaderID(a.text("reader")))
		if err != nil || !found {
			return "none\n", err
		}
		return showCursor(&c) + "\n", nil
	case "cursors":
		page, err := r.store.CursorsByTimeline(a.timeline(), a.seq("read"), tidemark.ReaderID(a.text("after")), a.number("limit", 10))
		return showCursors(&page), err
	case "count-cursors":
		count, applied, err := r.store.CountCursors(a.timeline(), a.seq("read"))
		return fmt.Sprintf("%d applied=%d\n", count, applied), err
	case "reader":
		page, err := r.store.CursorsByReader(tidemark.ReaderID(a.text("reader")), uint64(a.number("after", 0)), a.number("limit", 10))
		return showCursors(&page), err
	case "reopen":
		mustClose(t, r.store)
		r.store = storetest.Open(t, r.fs)
		return fmt.Sprintf("applied=%d durable=%d\n", r.store.Applied().Index, r.store.DurableIndex()), nil
	case "sync":
		before := r.store.DurableIndex()
		err := r.store.Sync()
		return fmt.Sprintf("durable before=%d after=%d\n", before, r.store.DurableIndex()), err
	case "install":
		return r.install(t)
	case "check":
		report, err := r.store.Check(nil)
		return fmt.Sprintf("applied=%d timelines=%d messages=%d cursors=%d bytes=%d\n", report.Applied.Index, report.Timelines, report.Messages, report.Cursors, report.Bytes), err
	case "dump":
		return r.dump(t)
	}
	t.Fatalf("unknown command %q", d.Cmd)
	return "", nil
}

// batch runs one command a line: append TIMELINE ID [time= payload= sender= type=
// attribute=K:V client-time=], ack TIMELINE READER DELIVERED READ, head TIMELINE,
// message TIMELINE SEQ, cursor TIMELINE READER. It commits unless "discard" is given.
func (r *transcript) batch(t *testing.T, d *datadriven.TestData) (string, error) {
	a := args{t, d}
	var out strings.Builder
	b := r.store.NewBatch()
	defer b.Discard()
	for line := range strings.Lines(d.Input) {
		if err := runInBatch(&out, b, strings.Fields(line)); err != nil {
			fmt.Fprintf(&out, "error: %v\n", err)
		}
	}
	if d.HasArg("discard") {
		return out.String(), nil
	}
	applied := tidemark.Applied{Index: uint64(a.number("index", 0)), Term: 1}
	if d.HasArg("membership") {
		applied.Membership, applied.MembershipIndex = []byte(a.text("membership")), applied.Index
	}
	if applied.Index > 0 {
		b.SetApplied(applied)
	}
	return out.String(), b.Commit()
}

func runInBatch(out *strings.Builder, b *pebblestore.Batch, words []string) error {
	id := tidemark.TimelineID(words[1])
	h, _, err := b.Head(id)
	if err != nil {
		return err
	}
	switch words[0] {
	case "append":
		m, now, err := parseDraft(id, words[2:])
		if err != nil {
			return err
		}
		seq, duplicate, err := appendDraft(b, m, now)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s %s seq=%d duplicate=%t\n", id, m.ID, seq, duplicate)
	case "ack":
		var delivered, read tidemark.SeqID
		if _, err := fmt.Sscan(strings.Join(words[3:], " "), &delivered, &read); err != nil {
			return err
		}
		c, err := acknowledge(b, id, tidemark.ReaderID(words[2]), delivered, read, 77)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, showCursor(&c))
	case "head":
		fmt.Fprintln(out, showHead(&h))
	case "message":
		var seq tidemark.SeqID
		if _, err := fmt.Sscan(words[2], &seq); err != nil {
			return err
		}
		m, err := b.Message(h.Number, seq)
		text, err := showMessage(&m, 0, err)
		if err != nil {
			return err
		}
		out.WriteString(text)
	case "cursor":
		c, found, err := b.Cursor(h.Number, tidemark.ReaderID(words[2]))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s found=%t\n", showCursor(&c), found)
	default:
		return fmt.Errorf("unknown command %q", words[0])
	}
	return nil
}

func parseDraft(id tidemark.TimelineID, words []string) (d tidemark.Draft, now tidemark.Time, err error) {
	d = draft(id, words[0], "")
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "time":
			_, err = fmt.Sscan(value, &now)
		case "client-time":
			_, err = fmt.Sscan(value, &d.ClientTime)
		case "payload":
			d.Payload = []byte(value)
		case "sender":
			d.Sender = value
		case "type":
			d.Type = value
		case "attribute":
			key, text, _ := strings.Cut(value, ":")
			d.Attributes = append(d.Attributes, tidemark.Attribute{Key: key, Value: text})
		default:
			err = fmt.Errorf("unknown field %q", name)
		}
		if err != nil {
			return d, now, err
		}
	}
	return d, now, nil
}

func (r *transcript) read(a args) (string, error) {
	query := tidemark.Range{Timeline: a.timeline(), Limit: a.number("limit", 10), MaxBytes: a.number("bytes", 1000)}
	switch {
	case a.d.HasArg("from"):
		query.Seq = a.seq("from")
	case a.d.HasArg("before"):
		query.Start, query.Seq = tidemark.StartBefore, a.seq("before")
	case a.d.HasArg("newest"):
		query.Start = tidemark.StartNewest
	case a.d.HasArg("time"):
		query.Start, query.Time = tidemark.StartTime, tidemark.Time(a.number("time", 0))
	case a.d.HasArg("start"):
		query.Start = tidemark.Start(a.number("start", 0))
	}
	if a.d.HasArg("backward") {
		query.Direction = tidemark.Backward
	}
	page, err := r.store.Read(query)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for i := range page.Messages {
		text, err := showMessage(&page.Messages[i], 0, nil)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
	}
	fmt.Fprintf(&out, "more=%t previous=%s last=%d applied=%d\n", page.More, page.PreviousDigest, page.Head.Last, page.Applied)
	return out.String(), nil
}

// install replaces the store's state by a snapshot of itself.
func (r *transcript) install(t *testing.T) (string, error) {
	snapshot, err := r.store.OpenSnapshot()
	if err != nil {
		return "", err
	}
	in, err := r.store.Receive()
	if err != nil {
		return "", err
	}
	n, err := io.Copy(in, snapshot)
	if n != snapshot.Size() {
		t.Errorf("the stream has %d bytes; Size said %d", n, snapshot.Size())
	}
	if err := errors.Join(err, snapshot.Close()); err != nil {
		return "", err
	}
	applied, err := in.Finish()
	if err != nil {
		return "", err
	}
	err = r.store.Install(in)
	return fmt.Sprintf("applied=%d installed=%d membership=%q@%d\n", applied.Index, applied.InstalledIndex, applied.Membership, applied.MembershipIndex), err
}

// dump renders every key and value, so that a change of a format shows.
func (r *transcript) dump(t *testing.T) (string, error) {
	mustClose(t, r.store)
	names, err := r.fs.List(storetest.Dir)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, name := range names {
		if strings.HasPrefix(name, "generation-") {
			fmt.Fprintln(&out, name)
			if err := dumpDatabase(&out, r.fs, r.fs.PathJoin(storetest.Dir, name)); err != nil {
				return "", err
			}
		}
	}
	r.store = storetest.Open(t, r.fs)
	return out.String(), nil
}

func dumpDatabase(out *strings.Builder, fs vfs.FS, dir string) error {
	db, err := pebble.Open(dir, &pebble.Options{FS: fs, ReadOnly: true, Logger: quiet{}})
	if err != nil {
		return err
	}
	iter, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		fmt.Fprintf(out, "%x = %x\n", iter.Key(), iter.Value())
	}
	return errors.Join(iter.Close(), db.Close())
}

type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

type args struct {
	t *testing.T
	d *datadriven.TestData
}

func (a args) timeline() tidemark.TimelineID { return tidemark.TimelineID(a.d.CmdArgs[0].Key) }

func (a args) text(name string) (value string) {
	a.d.MaybeScanArgs(a.t, name, &value)
	return value
}

func (a args) number(name string, otherwise int) int {
	a.d.MaybeScanArgs(a.t, name, &otherwise)
	return otherwise
}

func (a args) seq(name string) tidemark.SeqID { return tidemark.SeqID(a.number(name, 0)) }

func showMessage(m *tidemark.Message, applied uint64, err error) (string, error) {
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %d %s time=%d digest=%s", m.Timeline, m.SeqID, m.ID, m.ServerTime, m.Digest)
	for _, field := range []struct{ name, value string }{{"payload", string(m.Payload)}, {"sender", m.Sender}, {"type", m.Type}} {
		if field.value != "" {
			fmt.Fprintf(&out, " %s=%s", field.name, field.value)
		}
	}
	for _, attribute := range m.Attributes {
		fmt.Fprintf(&out, " attribute=%s:%s", attribute.Key, attribute.Value)
	}
	if m.ClientTime != tidemark.NoTime {
		fmt.Fprintf(&out, " client-time=%d", m.ClientTime)
	}
	if applied > 0 {
		fmt.Fprintf(&out, " applied=%d", applied)
	}
	return out.String() + "\n", nil
}

func showHead(h *tidemark.Head) string {
	return fmt.Sprintf("%s number=%d first=%d last=%d bytes=%d created=%d time=%d digest=%s", h.Timeline, h.Number, h.First, h.Last, h.Bytes, h.CreatedTime, h.LastTime, h.Digest)
}

func showHeads(page *tidemark.TimelinePage) string {
	var out strings.Builder
	for i := range page.Timelines {
		fmt.Fprintln(&out, showHead(&page.Timelines[i].Head))
	}
	return out.String() + fmt.Sprintf("more=%t applied=%d\n", page.More, page.Applied)
}

func showCursor(c *tidemark.Cursor) string {
	return fmt.Sprintf("%s %s delivered=%d read=%d updated=%d", c.Timeline, c.Reader, c.Delivered, c.Read, c.UpdatedTime)
}

func showCursors(page *tidemark.CursorPage) string {
	var out strings.Builder
	for i := range page.Cursors {
		fmt.Fprintf(&out, "%s last=%d\n", showCursor(&page.Cursors[i]), page.Heads[i].Last)
	}
	return out.String() + fmt.Sprintf("more=%t applied=%d\n", page.More, page.Applied)
}
