package bench

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/bench/imday"
)

// messenger does what the users of a day do, through the SDK, as the servers of an instant
// messenger would. A message to a group goes to the inboxes of its members, too; a device
// syncs the direct conversations of its user, and the inbox.
type messenger struct {
	*MixedConfig
	sdk     *client.Client
	day     *imday.Day
	payload []byte
	// last is the last SeqID of each conversation that was acknowledged.
	last []atomic.Uint64
	// had is what the device of each user has: of the direct conversations in the order of
	// Day.DirectOf, and of the inbox.
	had []device
}

type device struct {
	direct []atomic.Uint64
	inbox  atomic.Uint64
}

func newMessenger(c *MixedConfig, sdk *client.Client) *messenger {
	m := &messenger{MixedConfig: c, sdk: sdk, day: imday.NewDay(c.Users, c.Seed), payload: newPayload(c.Payload)}
	m.last = make([]atomic.Uint64, m.day.Conversations())
	m.had = make([]device, c.Users)
	for user := range m.had {
		m.had[user].direct = make([]atomic.Uint64, len(m.day.DirectOf(user)))
	}
	return m
}

// scatter spreads the names of hot conversations over the store. It is odd, so that no two
// numbers get the same name.
const scatter = 2_654_435_769

func (m *messenger) name(kind string, n int) tidemark.TimelineID {
	return tidemark.TimelineID(fmt.Sprintf("%s/%s/%08x", m.Prefix, kind, uint32(n)*scatter))
}

func (m *messenger) conversation(n int) tidemark.TimelineID {
	if m.day.IsGroup(n) {
		return m.name("group", n)
	}
	return m.name("direct", n)
}

func (m *messenger) inbox(user int) tidemark.TimelineID { return m.name("inbox", user) }

func user(n int) string { return fmt.Sprintf("user-%d", n) }

// groupMakers is how many groups are made at a time.
const groupMakers = 16

// prepare makes all conversations and their history, of which the devices have everything. The
// first message of each group makes the inboxes of its members.
func (m *messenger) prepare(ctx context.Context) error {
	m.say("%d users have %d direct conversations and %d groups, the largest of %d", m.Users, m.day.Direct(), m.day.Groups(), m.day.Largest())
	if err := inParallel(ctx, groupMakers, func(hand func(int) bool) {
		for group := m.day.Direct(); group < m.day.Conversations() && hand(group); group++ {
		}
	}, m.makeGroup); err != nil {
		return fmt.Errorf("make the groups: %w", err)
	}
	history := m.day.History(m.History)
	if err := m.fill(ctx, m.sdk, m.unfilled(history), m.payload); err != nil {
		return err
	}
	for conversation, messages := range history {
		m.last[conversation].Store(uint64(messages))
	}
	for user := range m.had {
		for i, conversation := range m.day.DirectOf(user) {
			m.had[user].direct[i].Store(uint64(history[conversation]))
		}
	}
	return nil
}

func (m *messenger) makeGroup(ctx context.Context, group int) error {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	inboxes := make([]tidemark.TimelineID, m.day.Size(group))
	for i, member := range m.day.Members(group) {
		inboxes[i] = m.inbox(member)
		m.had[member].inbox.Add(1)
	}
	if err := addRecipients(ctx, m.sdk, m.conversation(group), inboxes); err != nil {
		return err
	}
	_, err := m.sdk.Append(ctx, client.Draft{Timeline: m.conversation(group), Sender: sender, Payload: m.payload}, client.FanOut())
	return err
}

// unfilled yields a conversation for each message of its history that it does not have: of
// groups, all but the first. One after the other of those that are not full gets one.
func (m *messenger) unfilled(history []int) iter.Seq[tidemark.TimelineID] {
	return func(yield func(tidemark.TimelineID) bool) {
		var open []int
		for conversation := range history {
			open = append(open, conversation)
		}
		for round := 0; len(open) > 0; round++ {
			open = slices.DeleteFunc(open, func(conversation int) bool {
				messages := history[conversation]
				if m.day.IsGroup(conversation) {
					messages--
				}
				return messages <= round
			})
			for _, conversation := range open {
				if !yield(m.conversation(conversation)) {
					return
				}
			}
		}
	}
}

// do does one operation, and returns how many items came of it.
func (m *messenger) do(ctx context.Context, o *imday.Operation) (items int, err error) {
	switch o.Kind {
	case imday.Direct:
		return m.send(ctx, o)
	case imday.Group:
		return m.send(ctx, o, client.FanOut())
	case imday.Read:
		return m.read(ctx, o)
	case imday.Ack:
		return m.ack(ctx, o)
	default:
		return m.sync(ctx, o.User)
	}
}

// send appends a message, and returns how many inboxes got it, or of a direct one 1.
func (m *messenger) send(ctx context.Context, o *imday.Operation, options ...client.AppendOption) (int, error) {
	result, err := m.sdk.Append(ctx, client.Draft{Timeline: m.conversation(o.Conversation), Sender: user(o.User), Payload: m.payload}, options...)
	if err != nil {
		return 0, err
	}
	raise(&m.last[o.Conversation], uint64(result.SeqID))
	return max(result.Inboxes, 1), nil
}

// raise sets a number that others raise, too.
func raise(n *atomic.Uint64, to uint64) {
	for old := n.Load(); old < to && !n.CompareAndSwap(old, to); old = n.Load() {
	}
}

func (m *messenger) read(ctx context.Context, o *imday.Operation) (int, error) {
	from := tidemark.SeqID(o.From(m.last[o.Conversation].Load()))
	page, err := m.sdk.Read(ctx, m.conversation(o.Conversation), client.From(from), client.Limit(imday.Page))
	if err != nil {
		return 0, err
	}
	if len(page.Messages) == 0 || page.Messages[0].SeqID != from {
		return 0, fmt.Errorf("the page from %d of %s does not begin with that", from, page.Timeline.ID)
	}
	return len(page.Messages), nil
}

func (m *messenger) ack(ctx context.Context, o *imday.Operation) (int, error) {
	read := tidemark.SeqID(m.last[o.Conversation].Load())
	cursors, err := m.sdk.Ack(ctx, tidemark.ReaderID(user(o.User)), client.AckItem{Timeline: m.conversation(o.Conversation), Read: read})
	return len(cursors), err
}

// sync asks for what is new to a device, which has it then.
func (m *messenger) sync(ctx context.Context, of int) (messages int, err error) {
	had, conversations := &m.had[of], m.day.DirectOf(of)
	places := map[tidemark.TimelineID]*atomic.Uint64{m.inbox(of): &had.inbox}
	have := []client.Have{{Timeline: m.inbox(of), After: tidemark.SeqID(had.inbox.Load()), Priority: client.SyncHigh}}
	for i, conversation := range conversations {
		timeline := m.conversation(int(conversation))
		places[timeline] = &had.direct[i]
		have = append(have, client.Have{Timeline: timeline, After: tidemark.SeqID(had.direct[i].Load())})
	}
	synced, err := m.sdk.Sync(ctx, client.SyncRequest{Reader: tidemark.ReaderID(user(of)), Have: have})
	if err != nil {
		return 0, err
	}
	for i := range synced.Timelines {
		t := &synced.Timelines[i]
		for j := range t.Messages {
			if want := t.After + tidemark.SeqID(j) + 1; t.Messages[j].SeqID != want {
				return 0, fmt.Errorf("message %d of %s came in place of %d", t.Messages[j].SeqID, t.Timeline.ID, want)
			}
		}
		raise(places[t.Timeline.ID], uint64(t.After)+uint64(len(t.Messages)))
		messages += len(t.Messages)
	}
	return messages, nil
}
