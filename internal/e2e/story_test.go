package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	tm "tidemark"
	"tidemark/client"
	"tidemark/internal/localcluster"
)

const (
	storyGroup   = tm.TimelineID("conv/tides")
	storyMembers = 500
	// storyParallel bounds the calls that are made at the same time.
	storyParallel = 16
)

// story is docs/story.md on three processes. Each step is as it is told there.
type story struct {
	*testing.T
	cluster *testCluster
	ctx     context.Context
	// c is a client of the whole cluster, and nodes are clients of one node each.
	c     *client.Client
	nodes []*client.Client
	// users are the members of the group, by number, and each has one device, alice two.
	devices map[tm.ReaderID]*device
	sent    int
}

func user(n int) string {
	if n < 5 {
		return []string{"alice", "bob", "carol", "dora", "emil"}[n]
	}
	return fmt.Sprintf("user-%03d", n)
}

func inboxOf(user string) tm.TimelineID { return tm.TimelineID("inbox/" + user) }

// TestStory is the story of a group, told in docs/story.md.
func TestStory(t *testing.T) {
	cluster := start(t, 3)
	s := &story{T: t, cluster: cluster, ctx: testContext(t, 3*time.Minute), c: cluster.client(), devices: map[tm.ReaderID]*device{}}
	for _, node := range cluster.Nodes {
		s.nodes = append(s.nodes, cluster.only(node))
	}
	for n := range storyMembers {
		s.addDevice(user(n), "phone")
	}
	s.addDevice("alice", "laptop")

	s.form()
	s.talk(20, func(n int) *client.Client { return s.nodes[n%3] })
	s.syncAll(func(d *device) bool { return d.reader != "bob#phone" }) // bob is in a tunnel
	s.read(func(n int) tm.SeqID { return tm.SeqID(1 + n%20) })
	s.edit()
	s.talkThroughFailover(30)
	s.recall()
	s.join("zoe")
	s.talk(10, func(int) *client.Client { return s.c })
	s.syncAll(func(*device) bool { return true }) // bob is back
	s.readOnTwoDevices()
	s.judge()
}

func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *story) addDevice(user, name string) {
	reader := tm.ReaderID(user + "#" + name)
	s.devices[reader] = newDevice(reader, storyGroup, inboxOf(user))
}

// form makes the group: a recipient set of 500 inboxes.
func (s *story) form() {
	var inboxes []tm.TimelineID
	for n := range storyMembers {
		inboxes = append(inboxes, inboxOf(user(n)))
	}
	set, err := s.c.SetRecipients(s.ctx, storyGroup, tm.RecipientChange{Replace: true, Add: inboxes})
	if s.must(err); set.Count != storyMembers {
		s.Fatalf("the set is %+v", set)
	}
}

// talk has five members send in turn.
func (s *story) talk(messages int, through func(n int) *client.Client) {
	for n := range messages {
		s.send(through(n), user(n%5))
	}
}

func (s *story) send(c *client.Client, sender string) {
	s.sent++
	_, err := c.Append(s.ctx, client.Draft{
		Timeline: storyGroup, ID: tm.MessageID(fmt.Sprintf("%s-%d", sender, s.sent)), Sender: sender + "#phone",
		Type: "text", Payload: fmt.Appendf(nil, "message %d of %s", s.sent, sender),
	}, client.FanOut(), client.AdvanceSenderCursor())
	s.must(err)
}

// each does something for many at the same time.
func (s *story) each(n int, do func(n int) error) {
	var group errgroup.Group
	group.SetLimit(storyParallel)
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	s.Helper()
	s.must(group.Wait())
}

// syncAll has devices get what is new, each through another node.
func (s *story) syncAll(which func(*device) bool) {
	var devices []*device
	for _, d := range s.devices {
		if which(d) {
			devices = append(devices, d)
		}
	}
	s.each(len(devices), func(i int) error { return devices[i].sync(s.ctx, s.nodes[i%3]) })
}

// read has all members acknowledge what they have read, in the group and in their inboxes.
func (s *story) read(upTo func(n int) tm.SeqID) {
	s.each(storyMembers, func(n int) error {
		reader := tm.ReaderID(user(n))
		_, err := s.c.Ack(s.ctx, reader,
			client.AckItem{Timeline: storyGroup, Read: upTo(n)},
			client.AckItem{Timeline: inboxOf(user(n)), Read: upTo(n)})
		return err
	})
}

// edit has alice correct a message twice. Her laptop, which has not seen the first
// correction, is told.
func (s *story) edit() {
	content := client.Content{Type: "text", Payload: []byte("high tide at nine")}
	edited, err := s.c.Revise(s.ctx, storyGroup, 6, content, client.RevisedBy("alice#phone"), client.ExpectRevision(0))
	if s.must(err); edited.Revision != 1 || edited.Inboxes != storyMembers {
		s.Fatalf("%+v", edited)
	}
	content.Payload = []byte("high tide at ten")
	_, err = s.c.Revise(s.ctx, storyGroup, 6, content, client.RevisedBy("alice#laptop"), client.ExpectRevision(0))
	var conflict *tm.RevisionConflictError
	if !errors.As(err, &conflict) || conflict.Revision != 1 {
		s.Fatalf("an edit of what was edited meanwhile got %v", err)
	}
	_, err = s.c.Revise(s.ctx, storyGroup, 6, content, client.RevisedBy("alice#laptop"), client.ExpectRevision(conflict.Revision))
	s.must(err)
}

// talkThroughFailover kills the leader while messages are sent, and starts it again.
func (s *story) talkThroughFailover(messages int) {
	leader := s.cluster.leader(s.c)
	for n := range messages {
		if n == messages/3 {
			s.must(leader.Kill())
		}
		s.send(s.c, user(n%5))
	}
	s.must(leader.Start())
	s.must(s.cluster.WaitReady(s.ctx))
}

// recall has carol take a message back, twice, as an app that did not get the answer does.
func (s *story) recall() {
	const seq = 8
	options := []client.ReviseOption{client.RevisionID("recall-1"), client.RevisedBy("carol#phone")}
	first, err := s.c.Redact(s.ctx, storyGroup, seq, options...)
	s.must(err)
	again, err := s.c.Redact(s.ctx, storyGroup, seq, options...)
	if s.must(err); !again.Duplicate || again.SeqID != first.SeqID {
		s.Fatalf("%+v, and again %+v", first, again)
	}
}

// join adds a member who sees nothing of what was said before.
func (s *story) join(name string) {
	head, err := s.c.Timeline(s.ctx, storyGroup)
	s.must(err)
	_, err = s.c.SetRecipients(s.ctx, storyGroup, tm.RecipientChange{Add: []tm.TimelineID{inboxOf(name)}})
	s.must(err)
	// A floor is kept for whoever reads: the user, and each device that syncs under its own name.
	for _, reader := range []tm.ReaderID{tm.ReaderID(name), tm.ReaderID(name + "#phone")} {
		_, err = s.c.Ack(s.ctx, reader, client.AckItem{Timeline: storyGroup, Floor: head.Last + 1})
		s.must(err)
	}
	s.addDevice(name, "phone")
}

// readOnTwoDevices has alice read to the end on her phone. Both of her devices
// acknowledge as the user, so the laptop shows nothing as unread.
func (s *story) readOnTwoDevices() {
	phone := s.devices["alice#phone"]
	_, err := s.nodes[0].Ack(s.ctx, "alice", client.AckItem{Timeline: storyGroup, Read: phone.timelines[storyGroup].last()})
	s.must(err)
	for cursor, err := range s.nodes[1].ReaderCursors(s.ctx, "alice") {
		if s.must(err); cursor.Timeline == storyGroup && cursor.Unread != 0 {
			s.Errorf("alice's laptop shows %d unread", cursor.Unread)
		}
	}
}

// judge compares every device with every node, and what is unread and who has read with a
// recomputation.
func (s *story) judge() {
	devices := make([]*device, 0, len(s.devices))
	for _, d := range s.devices {
		devices = append(devices, d)
	}
	s.each(len(devices), func(i int) error {
		d := devices[i]
		for timeline, t := range d.timelines {
			if err := t.same(s.ctx, s.nodes[i%3], timeline); err != nil {
				return fmt.Errorf("%s: %w", d.reader, err)
			}
		}
		return s.judgeUnread(d)
	})
	if joined := s.devices["zoe#phone"].timelines[storyGroup]; len(joined.messages) != 10 {
		s.Errorf("the late joiner has %d messages", len(joined.messages))
	}
	group := s.devices["alice#phone"].timelines[storyGroup]
	if m := group.at(6); string(m.Payload) != "high tide at ten" || m.Revision.Number != 2 {
		s.Errorf("the edited message is %+v", m)
	}
	if m := group.at(8); len(m.Payload) != 0 || !m.Revision.Redacted {
		s.Errorf("the recalled message is %+v", m)
	}
	s.judgeReceipts(5)
	s.judgeReceipts(16)
	s.judgeReceipts(group.last())
	for _, node := range s.cluster.Nodes {
		s.hasAll(node)
	}
}

// judgeUnread compares what every timeline of a user's list says with what the device counts.
func (s *story) judgeUnread(d *device) error {
	name := tm.UserOf(string(d.reader))
	listed := 0
	for cursor, err := range s.c.ReaderCursors(s.ctx, tm.ReaderID(name)) {
		if err != nil {
			return err
		}
		t := d.timelines[cursor.Timeline]
		if t == nil {
			return fmt.Errorf("%s has a cursor in %s", name, cursor.Timeline)
		}
		listed++
		if want := t.unread(name, cursor.Read, cursor.Floor); !cursor.UnreadKnown || cursor.Unread != want {
			return fmt.Errorf("%s has %d unread in %s behind %d, and its device counts %d", name, cursor.Unread, cursor.Timeline, cursor.Read, want)
		}
	}
	if listed == 0 {
		return fmt.Errorf("%s has no cursor", name)
	}
	return nil
}

// judgeReceipts compares who has read a message with what was acknowledged: the members as
// users, and the phones of the senders, whose marks moved along with what they sent.
func (s *story) judgeReceipts(seq tm.SeqID) {
	var want []string
	for n := range storyMembers {
		if tm.SeqID(1+n%20) >= seq || user(n) == "alice" {
			want = append(want, user(n))
		}
	}
	sentLast := map[string]tm.SeqID{}
	for _, m := range s.devices["alice#phone"].timelines[storyGroup].messages {
		if m.Revises == nil {
			sentLast[m.Sender] = m.SeqID
		}
	}
	for sender, last := range sentLast {
		if last >= seq {
			want = append(want, sender)
		}
	}
	var got []string
	for cursor, err := range s.c.TimelineCursors(s.ctx, storyGroup, client.ReadAtLeast(seq)) {
		s.must(err)
		got = append(got, string(cursor.Reader))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.Errorf("message %d was read by %d: %v; want %d: %v", seq, len(got), got, len(want), want)
	}
	count, err := s.c.CountCursors(s.ctx, storyGroup, client.ReadAtLeast(seq))
	if s.must(err); count != uint64(len(want)) {
		s.Errorf("message %d was read by %d, want %d", seq, count, len(want))
	}
}

// hasAll looks for every message that was sent, once, on a node.
func (s *story) hasAll(node *localcluster.Node) {
	seen := map[tm.MessageID]int{}
	for m, err := range s.cluster.only(node).Messages(s.ctx, storyGroup) {
		s.must(err)
		seen[m.ID]++
	}
	for n := 1; n <= s.sent; n++ {
		found := 0
		for i := range 5 {
			found += seen[tm.MessageID(fmt.Sprintf("%s-%d", user(i), n))]
		}
		if found != 1 {
			s.Errorf("message %d is on %s %d times", n, node.ID, found)
		}
	}
}

// The story is told with the code that runs: each block of Go in docs/story.md stands in
// its tests word for word.
func TestStoryIsTold(t *testing.T) {
	text, code := readRoot(t, "docs/story.md"), readRoot(t, "internal/e2e/story_test.go")+readRoot(t, "internal/e2e/device_test.go")
	unindented := func(s string) string {
		var lines []string
		for line := range strings.Lines(s) {
			lines = append(lines, strings.TrimSpace(line))
		}
		return strings.Join(lines, "\n")
	}
	blocks := 0
	for rest := text; ; blocks++ {
		_, after, more := strings.Cut(rest, "```go\n")
		if !more {
			break
		}
		block, behind, _ := strings.Cut(after, "```")
		if !strings.Contains(unindented(code), strings.TrimSpace(unindented(block))) {
			t.Errorf("no test runs\n%s", block)
		}
		rest = behind
	}
	if blocks < 8 {
		t.Errorf("the story has only %d blocks of Go", blocks)
	}
}
