package checker

import (
	"maps"
	"slices"

	"tidemark"
	"tidemark/jepsen/history"
)

// revised is what the history says about one timeline whose messages are revised.
type revised struct {
	name string
	// sent and asked are the appends and revisions by message id.
	sent, asked map[string]*history.Operation
	// stands is what each SeqID holds, as the first final read that shows it says, and last
	// the last of them.
	stands map[uint64]history.Seen
	last   uint64
	// entries are the SeqIDs of the revision entries of each message, in rising order.
	entries map[uint64][]uint64
}

// revisedTimelines gathers them. What stands at a SeqID never changes but for its revision.
func revisedTimelines(x *index) map[string]*revised {
	all := make(map[string]*revised)
	of := func(name string) *revised {
		r := all[name]
		if r == nil {
			r = &revised{name: name, sent: make(map[string]*history.Operation), asked: make(map[string]*history.Operation),
				stands: make(map[uint64]history.Seen), entries: make(map[uint64][]uint64)}
			all[name] = r
		}
		return r
	}
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		switch {
		case op.Kind == history.KindFinalRevised:
			r := of(op.Timeline)
			r.last = max(r.last, op.HeadLast)
			for _, s := range op.Messages {
				if _, known := r.stands[s.SeqID]; !known {
					r.stands[s.SeqID] = s
				}
			}
		case op.Kind != history.KindRevised:
		case len(op.Items) > 0:
			of(op.Timeline).sent[op.Items[0].MessageID] = op
		case op.Revise != nil:
			of(op.Timeline).asked[op.Revise.MessageID] = op
		}
	}
	for _, r := range all {
		for _, seq := range slices.Sorted(maps.Keys(r.stands)) {
			if s := r.stands[seq]; s.Revises != nil && s.Source == nil {
				r.entries[s.Revises.SeqID] = append(r.entries[s.Revises.SeqID], seq)
			}
		}
	}
	return all
}

// revision judges timelines whose messages are revised: acknowledged appends and revisions
// stand where they were said to stand, once; the revisions of a message are numbered
// without a gap in the order of their entries, none follows a redaction, and a conditional
// one follows the revision that it expected; every page shows of each message the newest
// revision that its view has, and nothing of a redacted one; tails get every message and
// every entry once, in order; and inboxes have a reference to each of them, once.
func revision(x *index, f *findings) {
	all := revisedTimelines(x)
	var tails []*history.Operation
	finals := make(map[string]*history.Operation)
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		switch op.Kind {
		case history.KindRevisedTail, history.KindRevisedTailEnd:
			tails = append(tails, op)
		case history.KindRevised, history.KindFinalRevised:
		default:
			continue
		}
		if op.Outcome != history.OK || len(op.Messages) == 0 {
			continue
		}
		if r := all[op.Timeline]; r != nil {
			r.judgePage(op, f)
		}
		if op.Kind != history.KindFinalRevised {
			continue
		}
		if other := finals[op.Timeline]; other == nil {
			finals[op.Timeline] = op
		} else if other.HeadDigest != op.HeadDigest || other.HeadLast != op.HeadLast {
			f.add(op.Timeline, []*history.Operation{other, op}, "it ends at %d with digest %.8s on node %s, and at %d with %.8s on node %s",
				other.HeadLast, other.HeadDigest, other.Node, op.HeadLast, op.HeadDigest, op.Node)
		}
	}
	sortByInvoked(tails)
	continuity(tails, "tail", f)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		all[name].judgeEntries(f)
		all[name].judgeAcknowledged(f)
	}
	judgeRevisedInboxes(all, f)
}

// judgePage judges the messages of a page or of a tail.
func (r *revised) judgePage(op *history.Operation, f *findings) {
	this := []*history.Operation{op}
	if op.BadDigest != 0 {
		f.add(op.Timeline, this, "the digest of %d is not that of the chain", op.BadDigest)
	}
	for i := range op.Messages {
		s := &op.Messages[i]
		if i > 0 && s.SeqID != op.Messages[i-1].SeqID+1 {
			f.add(op.Timeline, this, "message %d follows %d", s.SeqID, op.Messages[i-1].SeqID)
		}
		switch known, ok := r.stands[s.SeqID]; {
		case ok && known.MessageID != s.MessageID:
			f.add(op.Timeline, this, "message %q stands at %d, where final reads show %q", s.MessageID, s.SeqID, known.MessageID)
		case ok && op.Kind == history.KindFinalRevised && known.Content != s.Content:
			f.add(op.Timeline, this, "message %d has another content on node %s than on another one", s.SeqID, op.Node)
		}
		if s.Source == nil && s.Revises == nil {
			r.judgeMessage(op, s, f)
		}
	}
}

// judgeMessage judges what a page shows of a message: the newest revision that its view has.
// A tail shows messages as they are when it reads them, which the history does not know.
func (r *revised) judgeMessage(op *history.Operation, s *history.Seen, f *findings) {
	this := []*history.Operation{op}
	from := r.sent[s.MessageID]
	if from == nil {
		f.add(op.Timeline, this, "message %q at %d was never sent", s.MessageID, s.SeqID)
		return
	}
	this = append(this, from)
	if op.Kind != history.KindRevisedTail {
		newest := uint64(0)
		for _, entry := range r.entries[s.SeqID] {
			if entry <= op.HeadLast {
				newest = entry
			}
		}
		shown := uint64(0)
		if s.Revision != nil {
			shown = s.Revision.SeqID
		}
		if shown != newest {
			f.add(op.Timeline, this, "message %d shows the revision of entry %d, and the newest up to %d is entry %d", s.SeqID, shown, op.HeadLast, newest)
			return
		}
	}
	if s.Revision == nil {
		if from.Items[0].Content != s.Content {
			f.add(op.Timeline, this, "message %d has another content than was sent", s.SeqID)
		}
		return
	}
	entry, there := r.stands[s.Revision.SeqID]
	asked := r.asked[entry.MessageID]
	switch {
	case !there && s.Revision.SeqID > r.last, there && asked == nil:
		f.add(op.Timeline, this, "message %d shows revision %d of entry %d, which is none", s.SeqID, s.Revision.Number, s.Revision.SeqID)
	case there && (entry.Revises == nil || entry.Revises.SeqID != s.SeqID || entry.Revises.Number != s.Revision.Number || entry.Revises.Redacted != s.Revision.Redacted):
		f.add(op.Timeline, this, "message %d shows revision %d of entry %d, which is another one", s.SeqID, s.Revision.Number, s.Revision.SeqID)
	case there && asked.Revise.Content != s.Content:
		f.add(op.Timeline, append(this, asked), "message %d shows another content than that of its revision %d", s.SeqID, s.Revision.Number)
	}
}

// judgeEntries judges the revision entries of each message.
func (r *revised) judgeEntries(f *findings) {
	placed := make(map[string]uint64)
	for _, seq := range slices.Sorted(maps.Keys(r.stands)) {
		s := r.stands[seq]
		if other, twice := placed[s.MessageID]; twice && s.Source == nil {
			f.add(r.name, []*history.Operation{r.sent[s.MessageID], r.asked[s.MessageID]}, "%q stands at %d and at %d", s.MessageID, other, seq)
		}
		placed[s.MessageID] = seq
	}
	for target, entries := range r.entries {
		redacted := false
		for i, seq := range entries {
			s := r.stands[seq]
			asked := r.asked[s.MessageID]
			if asked == nil {
				f.add(r.name, nil, "revision %q at %d was never asked for", s.MessageID, seq)
				continue
			}
			this := []*history.Operation{asked}
			switch want := asked.Revise; {
			case asked.Outcome == history.Fail:
				f.add(r.name, this, "revision %q stands at %d, and was said to have failed", s.MessageID, seq)
			case want.Target != target || want.Redact != s.Revises.Redacted:
				f.add(r.name, this, "entry %d does not say what revision %q did", seq, s.MessageID)
			case s.Revises.Number != uint64(i)+1:
				f.add(r.name, this, "entry %d is revision %d of message %d, and %d come before it", seq, s.Revises.Number, target, i)
			case want.Expected != nil && *want.Expected != uint64(i):
				f.add(r.name, this, "entry %d expected revision %d of message %d, which was %d", seq, *want.Expected, target, i)
			case redacted:
				f.add(r.name, this, "entry %d revises message %d after it was redacted", seq, target)
			}
			redacted = redacted || s.Revises.Redacted
		}
	}
}

// judgeAcknowledged looks for what was acknowledged where final reads show it.
func (r *revised) judgeAcknowledged(f *findings) {
	if r.last == 0 {
		return // nothing was read back, which another checker tells
	}
	for id, op := range r.sent {
		item := &op.Items[0]
		if op.Outcome == history.OK && r.stands[item.SeqID].MessageID != id {
			f.add(r.name, []*history.Operation{op}, "message %q was acknowledged at %d, where %q stands", id, item.SeqID, r.stands[item.SeqID].MessageID)
		}
	}
	for id, op := range r.asked {
		if op.Outcome != history.OK {
			continue
		}
		s := r.stands[op.Revise.SeqID]
		if s.MessageID != id || s.Revises == nil || s.Revises.Number != op.Revise.Number {
			f.add(r.name, []*history.Operation{op}, "revision %d of message %d was acknowledged with entry %d, where %q stands", op.Revise.Number, op.Revise.Target, op.Revise.SeqID, s.MessageID)
		}
	}
}

// judgeRevisedInboxes looks in each inbox for a reference to every message and entry of
// every timeline, once and in order.
func judgeRevisedInboxes(all map[string]*revised, f *findings) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		inbox := all[name]
		seen := make(map[string]uint64)
		for _, seq := range slices.Sorted(maps.Keys(inbox.stands)) {
			s := inbox.stands[seq]
			if s.Source == nil {
				continue
			}
			if want := seen[s.Source.Timeline] + 1; s.Source.SeqID != want {
				f.add(name, nil, "entry %d refers to %d of %s, and %d is what comes next", seq, s.Source.SeqID, s.Source.Timeline, want)
			}
			seen[s.Source.Timeline] = s.Source.SeqID
			switch source := all[s.Source.Timeline]; {
			case source == nil || source.stands[s.Source.SeqID].MessageID != s.MessageID:
				f.add(name, nil, "entry %d is %q, which is not %d of %s", seq, s.MessageID, s.Source.SeqID, s.Source.Timeline)
			case source.stands[s.Source.SeqID].Content != s.Content:
				f.add(name, nil, "entry %d has another content than %d of %s", seq, s.Source.SeqID, s.Source.Timeline)
			}
		}
		for timeline, last := range seen {
			if source := all[timeline]; source != nil && last != source.last {
				f.add(name, nil, "it refers to %s up to %d, which ends at %d", timeline, last, source.last)
			}
		}
	}
}

// unreadRevised is unreadCount for timelines whose messages are revised: neither revision
// entries nor what was redacted up to the view's last message is unread.
func unreadRevised(x *index, f *findings) {
	all := revisedTimelines(x)
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if op.Kind != history.KindRevised || op.Outcome != history.OK {
			continue
		}
		for _, c := range op.Cursors {
			r := all[c.Timeline]
			if r == nil || c.Unread == nil || r.last < c.Last {
				continue // the listing has other timelines too, or nothing was read back
			}
			if expected := r.unread(tidemark.UserOf(c.Reader), max(c.Read+1, c.Floor), c.Last); *c.Unread != expected {
				f.add(c.Timeline, []*history.Operation{op}, "%q was told that %d messages are unread, and from %d to %d there are %d of others that are not redacted",
					c.Reader, *c.Unread, max(c.Read+1, c.Floor), c.Last, expected)
			}
		}
	}
}

// unread counts from scratch.
func (r *revised) unread(user string, from, last uint64) (count uint64) {
	for seq := from; seq <= last; seq++ {
		s := r.stands[seq]
		if s.Revises != nil {
			continue
		}
		if sent := r.sent[s.MessageID]; sent != nil && tidemark.UserOf(sent.Items[0].Sender) == user {
			continue
		}
		if !slices.ContainsFunc(r.entries[seq], func(entry uint64) bool { return entry <= last && r.stands[entry].Revises.Redacted }) {
			count++
		}
	}
	return count
}
