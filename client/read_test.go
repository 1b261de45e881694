package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tidemark"
	"tidemark/client"
	pb "tidemark/rpc/tidemarkv1"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// filled is a cluster whose conv/1 holds m1 to mn.
func filled(t *testing.T, n int) (*cluster, *client.Client) {
	t.Helper()
	c := newCluster(t, 1)
	for i := range n {
		d := draft(fmt.Sprint("m", i+1))
		if _, err := c.append(&pb.AppendRequest{Timeline: "conv/1", MessageId: string(d.ID), Payload: d.Payload, Attributes: map[string]string{"n": fmt.Sprint(i + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	return c, dial(t, c.endpoints())
}

func collect(t *testing.T, c *client.Client, opts ...client.ReadOption) string {
	t.Helper()
	var seqs []string
	for m, err := range c.Messages(testContext(t), "conv/1", opts...) {
		if err != nil {
			return strings.Join(append(seqs, err.Error()), " ")
		}
		seqs = append(seqs, m.SeqID.String())
	}
	return strings.Join(seqs, " ")
}

func TestMessages(t *testing.T) {
	_, c := filled(t, 10)
	for _, test := range []struct {
		want string
		opts []client.ReadOption
	}{
		{"1 2 3 4 5 6 7 8 9 10", nil},
		{"1 2 3 4 5 6 7 8 9 10", []client.ReadOption{client.PageSize(3)}},
		{"4 5 6 7 8 9 10", []client.ReadOption{client.From(4), client.PageSize(2)}},
		{"4 5 6", []client.ReadOption{client.From(4), client.Limit(3), client.PageSize(2)}},
		{"4 3 2 1", []client.ReadOption{client.From(4), client.Backward(), client.PageSize(3)}},
		{"10 9 8 7", []client.ReadOption{client.Newest(4), client.PageSize(3)}},
		{"10 9 8 7 6 5 4 3 2 1", []client.ReadOption{client.Newest(0), client.PageSize(3)}},
		{"3 2 1", []client.ReadOption{client.Before(4), client.PageSize(1)}},
		{"", []client.ReadOption{client.From(11)}},
		{"", []client.ReadOption{client.Before(1)}},
		{"8 9 10", []client.ReadOption{client.FromTime(time.Unix(1700000007, 0))}},
		{"limit must not be negative or larger than a 32-bit number; it is -1", []client.ReadOption{client.Limit(-1)}},
		{"ack goes with Read, not with Messages", []client.ReadOption{client.AckPrevious("bob", 1, 1)}},
	} {
		if got := collect(t, c, test.opts...); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestMessagesEndEarly(t *testing.T) {
	c, cl := filled(t, 10)
	for m, err := range cl.Messages(testContext(t), "conv/1", client.PageSize(2)) {
		if err != nil {
			t.Fatal(err)
		}
		if m.SeqID == 3 {
			break
		}
	}
	if pages := c.nodes[0].count("Read"); pages != 2 {
		t.Errorf("%d pages were read", pages)
	}
	c.nodes[0].script("Read", fault{}, fault{skip: true, err: reasoned(codes.NotFound, "TIMELINE_NOT_FOUND", 0)})
	if got := collect(t, cl, client.PageSize(2)); !strings.HasPrefix(got, "1 2 Read: ") || !contains(got, "timeline_not_found") {
		t.Errorf("error in the middle: %q", got)
	}
	c.nodes[0].script("Read", fault{}, fault{cut: true, skip: true}, fault{skip: true, err: reasoned(codes.Unavailable, "NOT_CAUGHT_UP", 0)})
	if got := collect(t, cl, client.PageSize(5)); got != "1 2 3 4 5 6 7 8 9 10" {
		t.Errorf("failures in the middle: %q", got)
	}
	for _, err := range cl.Messages(testContext(t), "nothing") {
		if !errors.Is(err, tidemark.ErrTimelineNotFound) {
			t.Errorf("no timeline: %v", err)
		}
	}
}

// TestMessagesFindsAHole: SeqIDs are dense, so a hole can be seen.
func TestMessagesFindsAHole(t *testing.T) {
	c, cl := filled(t, 10)
	c.mu.Lock()
	messages := c.timelines["conv/1"].messages
	c.timelines["conv/1"].messages = slices.Delete(messages, 5, 6)
	c.mu.Unlock()
	for _, opts := range [][]client.ReadOption{{}, {client.PageSize(5)}, {client.Newest(0)}, {client.Newest(0), client.PageSize(4)}} {
		last := error(nil)
		for _, err := range cl.Messages(testContext(t), "conv/1", opts...) {
			last = err
		}
		if !errors.Is(last, tidemark.ErrCorrupt) {
			t.Errorf("got %v", last)
		}
	}
}

func TestRead(t *testing.T) {
	c, cl := filled(t, 10)
	page, err := cl.Read(testContext(t), "conv/1", client.Newest(3))
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Messages) != 3 || page.Messages[0].SeqID != 8 || !page.More || page.Timeline.Last != 10 || page.Timeline.Count != 10 ||
		page.PreviousDigest.String() != fmt.Sprintf("%x", "0000000000000007") || page.Staleness != 12*time.Millisecond ||
		page.AppliedIndex != 7 || page.Position != 10 || page.Endpoint != c.nodes[0].address {
		t.Errorf("page is %+v", page)
	}
	m := page.Messages[2]
	if m.ID != "m10" || string(m.Payload) != "payload of m10" || m.Attributes["n"] != "10" || !m.ClientTime.IsZero() || m.ServerTime.Unix() != 1700000009 {
		t.Errorf("message is %+v", m)
	}
	if got, err := cl.Get(testContext(t), "conv/1", 4); err != nil || got.ID != "m4" {
		t.Errorf("Get: %+v, %v", got, err)
	}
	if got, err := cl.GetByID(testContext(t), "conv/1", "m5"); err != nil || got.SeqID != 5 {
		t.Errorf("GetByID: %+v, %v", got, err)
	}
	if _, err := cl.Get(testContext(t), "conv/1", 11); !errors.Is(err, tidemark.ErrMessageNotFound) {
		t.Errorf("Get past the end: %v", err)
	}
	if head, err := cl.Timeline(testContext(t), "conv/1"); err != nil || head.ID != "conv/1" || head.First != 1 || head.Last != 10 || head.Bytes != 50 {
		t.Errorf("Timeline: %+v, %v", head, err)
	}
	if _, err := cl.Timeline(testContext(t), "none"); !errors.Is(err, tidemark.ErrTimelineNotFound) {
		t.Errorf("Timeline of none: %v", err)
	}
	if _, err := cl.Timeline(testContext(t), "bad\xff"); !errors.Is(err, tidemark.ErrInvalid) {
		t.Errorf("Timeline that is not UTF-8: %v", err)
	}
	if _, err := cl.Read(testContext(t), "conv/1", client.FromTime(time.Unix(1e12, 0))); !errors.Is(err, tidemark.ErrInvalid) {
		t.Errorf("time out of range: %v", err)
	}
}

// TestReadsTurnToOtherNodes: what one node cannot serve, another may.
func TestReadsTurnToOtherNodes(t *testing.T) {
	for name, err := range map[string]error{
		"cut off":   reasoned(codes.Unavailable, "NO_LEADER", 0),
		"stale":     reasoned(codes.Unavailable, "STALE", 0),
		"damaged":   reasoned(codes.DataLoss, "CORRUPT", 0),
		"slow":      status.Error(codes.DeadlineExceeded, "slow"),
		"exhausted": reasoned(codes.ResourceExhausted, "OVERLOADED", 0),
	} {
		c := newCluster(t, 3)
		cl := dial(t, c.endpoints())
		mustAppend(t, cl, draft("m1"))
		c.nodes[0].setDeny(err)
		c.nodes[1].setDeny(err)
		for range 5 {
			page, err := cl.Read(testContext(t), "conv/1")
			if err != nil || page.Endpoint != c.nodes[2].address {
				t.Errorf("%s: %+v, %v", name, page, err)
			}
		}
	}
}

// TestDamageEverywhereIsTold: a read does not ask for ever.
func TestDamageEverywhereIsTold(t *testing.T) {
	c := newCluster(t, 2)
	for _, n := range c.nodes {
		n.setDeny(reasoned(codes.DataLoss, "CORRUPT", 0))
	}
	if _, err := dial(t, c.endpoints()).Read(testContext(t), "conv/1"); !errors.Is(err, tidemark.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// TestSlowCallGetsMoreTime: an attempt that took too long is repeated with more time.
func TestSlowCallGetsMoreTime(t *testing.T) {
	c, cl := filled(t, 1)
	slow := fault{delay: 500 * time.Millisecond}
	c.nodes[0].script("Read", slow, slow, slow, slow, slow)
	if _, err := cl.Read(testContext(t), "conv/1"); err != nil || c.nodes[0].count("Read") != 3 {
		t.Errorf("%v after %d attempts", err, c.nodes[0].count("Read"))
	}
}

func TestReadDeadline(t *testing.T) {
	c, cl := filled(t, 1)
	c.nodes[0].script("Read", fault{mute: true})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := cl.Read(ctx, "conv/1"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, tidemark.ErrOutcomeUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestConsistency(t *testing.T) {
	c, cl := filled(t, 4)
	ctx := testContext(t)
	last := func() string {
		c.nodes[0].mu.Lock()
		defer c.nodes[0].mu.Unlock()
		level := c.nodes[0].levels[len(c.nodes[0].levels)-1]
		switch {
		case level.GetLinearizable() != nil:
			return "linearizable"
		case level.GetSession() != nil:
			position, err := tidemark.ParsePosition("position", level.GetSession().GetPosition())
			return fmt.Sprint("session ", position, " ", err)
		case level.GetLocal().MaxStalenessMillis != nil:
			return fmt.Sprint("local ", level.GetLocal().GetMaxStalenessMillis())
		default:
			return "local"
		}
	}
	read := func(opts ...client.ReadOption) {
		t.Helper()
		if _, err := cl.Read(ctx, "conv/1", opts...); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string) {
		t.Helper()
		if got := last(); got != want {
			t.Errorf("level is %q, want %q", got, want)
		}
	}
	read(client.Session())
	check("session 0 <nil>")
	read()
	check("linearizable")
	if cl.Position() != 4 {
		t.Errorf("position after a read is %d", cl.Position())
	}
	sent := mustAppend(t, cl, draft("m5"))
	read(client.Session())
	check(fmt.Sprintf("session %d <nil>", sent.Position))
	cl.Observe(99)
	cl.Observe(3)
	read(client.Session())
	check("session 99 <nil>")
	read(client.SessionAt(5))
	check("session 5 <nil>")
	read(client.Local(0))
	check("local")
	read(client.Local(time.Second))
	check("local 1000")
	read(client.Local(time.Microsecond))
	check("local 1")
	if _, err := cl.Get(ctx, "conv/1", 1, client.Local(0)); err != nil {
		t.Fatal(err)
	}
	check("local")
	if _, err := cl.Timeline(ctx, "conv/1", client.Session()); err != nil {
		t.Fatal(err)
	}
	check("session 99 <nil>")
	collect(t, cl, client.PageSize(1))
	check("session 5 <nil>")
	cl = dial(t, c.endpoints(), client.WithConsistency(client.Local(0)))
	read()
	check("local")
}

func TestCursors(t *testing.T) {
	_, cl := filled(t, 10)
	ctx := testContext(t)
	for i := range 5 {
		reader := tidemark.ReaderID(fmt.Sprint("r", i))
		cursors, err := cl.Ack(ctx, reader, client.AckItem{Timeline: "conv/1", Delivered: 9, Read: tidemark.SeqID(i)})
		if err != nil || len(cursors) != 1 || cursors[0].Delivered != 9 || cursors[0].Last != 10 || cursors[0].UpdatedTime.IsZero() {
			t.Fatalf("%+v, %v", cursors, err)
		}
	}
	var got []string
	for cursor, err := range cl.TimelineCursors(ctx, "conv/1", client.ReadAtLeast(2), client.Session()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(cursor.Reader, "=", cursor.Read))
	}
	if fmt.Sprint(got) != "[r2=2 r3=3 r4=4]" {
		t.Errorf("got %v", got)
	}
	if n, err := cl.CountCursors(ctx, "conv/1", client.ReadAtLeast(1)); err != nil || n != 4 {
		t.Errorf("count is %d, %v", n, err)
	}
	for cursor, err := range cl.ReaderCursors(ctx, "r3") {
		if err != nil || cursor.Timeline != "conv/1" || cursor.Read != 3 {
			t.Errorf("%+v, %v", cursor, err)
		}
	}
	for range cl.TimelineCursors(ctx, "conv/1") {
		break
	}
}

func TestTimelines(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	for _, name := range []string{"a/1", "b/1", "b/2", "b/3", "c/1"} {
		mustAppend(t, cl, client.Draft{Timeline: tidemark.TimelineID(name), ID: "m"})
	}
	var got []string
	for head, err := range cl.Timelines(testContext(t), "b/") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(head.ID))
	}
	if fmt.Sprint(got) != "[b/1 b/2 b/3]" {
		t.Errorf("got %v", got)
	}
	c.nodes[0].script("ListTimelines", fault{}, fault{skip: true, err: reasoned(codes.InvalidArgument, "INVALID_ARGUMENT", 0, "field", "page_token", "rule", "is odd")})
	n := 0
	for _, err := range cl.Timelines(testContext(t), "", client.Session()) {
		n++
		var invalid *tidemark.InvalidError
		if n == 3 && (!errors.As(err, &invalid) || invalid.Field != "page_token" || invalid.Rule != "is odd") || n < 3 && err != nil || n > 3 {
			t.Errorf("step %d: %v", n, err)
		}
	}
}

func TestCluster(t *testing.T) {
	c := newCluster(t, 2)
	cl := dial(t, c.endpoints()[:1])
	ctx := testContext(t)
	if status, err := cl.Cluster().Status(ctx); err != nil || status.GetNodeId() != "n1" {
		t.Errorf("%v, %v", status, err)
	}
	if status, err := cl.Cluster().At(c.nodes[1].address).Status(ctx); err != nil || status.GetNodeId() != "n2" {
		t.Errorf("%v, %v", status, err)
	}
	if members, err := cl.Cluster().AddMember(ctx, "n4", "x:1"); err != nil || len(members) != 2 {
		t.Errorf("%v, %v", members, err)
	}
	if members, err := cl.Cluster().PromoteMember(ctx, "n4"); err != nil || len(members) != 1 {
		t.Errorf("%v, %v", members, err)
	}
	if members, err := cl.Cluster().RemoveMember(ctx, "n4"); err != nil || len(members) != 1 {
		t.Errorf("%v, %v", members, err)
	}
	if leader, err := cl.Cluster().TransferLeadership(ctx, "n2"); err != nil || leader != "n2" {
		t.Errorf("%v, %v", leader, err)
	}
	if index, term, err := cl.Cluster().At(c.nodes[1].address).TakeSnapshot(ctx); err != nil || index != 12 || term != 1 {
		t.Errorf("%v, %v, %v", index, term, err)
	}
	c.nodes[0].script("RemoveMember", fault{skip: true, err: reasoned(codes.FailedPrecondition, "MEMBERSHIP_UNSAFE", 0)})
	if _, err := cl.Cluster().RemoveMember(ctx, "n1"); !errors.Is(err, tidemark.ErrMembershipUnsafe) {
		t.Error(err)
	}
	var copied bytes.Buffer
	if size, err := cl.Cluster().Backup(ctx, &copied); err != nil || size != 15 || copied.String() != "chunkchunkchunk" {
		t.Errorf("%d, %v, %q", size, err, &copied)
	}
	c.nodes[0].script("Backup", fault{err: reasoned(codes.DataLoss, "CORRUPT", 0)})
	if _, err := cl.Cluster().Backup(ctx, &copied); !errors.Is(err, tidemark.ErrCorrupt) {
		t.Error(err)
	}
	if got := cl.Endpoints(); !slices.Equal(got, c.endpoints()[:1]) {
		t.Errorf("endpoints are %v", got)
	}
}
