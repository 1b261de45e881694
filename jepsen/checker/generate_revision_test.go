package checker

import (
	"fmt"
	"slices"

	"tidemark/jepsen/history"
)

// reviseAll adds a timeline of which messages are edited and redacted, what its readers and
// tails saw of it, what was unread, and what each node holds of it and of its inbox at the end.
func (s *simulation) reviseAll() {
	const timeline, inbox, reader = "revised/1", "revised-inbox/1", "bob#phone"
	s.process++
	process := s.process
	operation := func(kind history.Kind) *history.Operation {
		s.now += s.delay()
		op := &history.Operation{ID: int64(len(s.ops)) + 1, Process: process, Client: "revision", Kind: kind, Timeline: timeline,
			Outcome: history.OK, Invoked: s.now, Completed: s.now + 1}
		s.now++
		s.ops = append(s.ops, op)
		return op
	}
	var all []history.Seen
	var messages []int // of all, those that are no entries
	redactions := map[int]uint64{}
	show := func(op *history.Operation) {
		op.HeadLast, op.HeadDigest, op.From = uint64(len(all)), fmt.Sprint(len(all)), 1
		for i := range all {
			seen := all[i]
			if seen.Revision != nil {
				revision := *seen.Revision
				seen.Revision = &revision
			}
			op.Messages = append(op.Messages, seen)
		}
	}
	for n := range 60 {
		seq := uint64(len(all) + 1)
		if n%3 == 0 || len(messages) == 0 {
			op := operation(history.KindRevised)
			sender := []string{"alice", "bob"}[n%2]
			m := history.Seen{SeqID: seq, MessageID: fmt.Sprint("r", n), Content: s.rand.Uint64()}
			op.Items = []history.Item{{Timeline: timeline, MessageID: m.MessageID, Content: m.Content, Sender: sender, Outcome: history.OK, SeqID: seq}}
			messages = append(messages, len(all))
			all = append(all, m)
		} else if at := messages[s.rand.IntN(len(messages))]; all[at].Revision == nil || !all[at].Revision.Redacted {
			op := operation(history.KindRevised)
			number := uint64(1)
			if before := all[at].Revision; before != nil {
				number = before.Number + 1
			}
			expected := number - 1
			op.Revise = &history.Revise{MessageID: fmt.Sprint("e", n), Target: all[at].SeqID, Redact: n%4 == 0, Content: s.rand.Uint64(), Number: number, SeqID: seq}
			if n%5 != 0 {
				op.Revise.Expected = &expected
			}
			if op.Revise.Redact {
				redactions[at] = seq
			}
			all[at].Content = op.Revise.Content
			all[at].Revision = &history.SeenRevision{SeqID: seq, Number: number, Redacted: op.Revise.Redact}
			all = append(all, history.Seen{SeqID: seq, MessageID: op.Revise.MessageID, Revises: &history.SeenRevision{SeqID: all[at].SeqID, Number: number, Redacted: op.Revise.Redact}})
		}
		show(operation(history.KindRevised))
		list := operation(history.KindRevised)
		list.Reader = reader
		unread := uint64(0)
		for _, at := range messages {
			if s.sender(timeline, all[at].MessageID) != "bob" && redactions[at] == 0 {
				unread++
			}
		}
		list.Cursors = []history.CursorSeen{{Timeline: timeline, Reader: reader, Unread: &unread, Last: uint64(len(all))}}
	}
	s.process++
	process = s.process
	for got := 0; got < len(all); {
		end := min(len(all), got+1+s.rand.IntN(7))
		op := operation(history.KindRevisedTail)
		op.From, op.Messages = uint64(got), slices.Clone(all[got:end])
		got = end
	}
	end := operation(history.KindRevisedTailEnd)
	end.From, end.HeadLast = uint64(len(all)), uint64(len(all))
	for _, node := range s.nodes {
		s.process++
		process = s.process
		op := operation(history.KindFinalRevised)
		op.Node = node.name
		show(op)
		in := operation(history.KindFinalRevised)
		in.Node, in.Timeline, in.HeadLast, in.HeadDigest, in.From = node.name, inbox, uint64(len(all)), "inbox", 1
		for i := range all {
			seen := all[i]
			seen.Source = &history.Source{Timeline: timeline, SeqID: seen.SeqID}
			in.Messages = append(in.Messages, seen)
		}
	}
}

// sender is who sent a message of a timeline.
func (s *simulation) sender(timeline, id string) string {
	for _, op := range s.ops {
		if op.Timeline == timeline && len(op.Items) > 0 && op.Items[0].MessageID == id {
			return op.Items[0].Sender
		}
	}
	return ""
}

// inRevised changes a message that fits of an operation of a kind, of which there are many.
func (m *mutant) inRevised(kind history.Kind, fits func(*history.Seen) bool, change func(*history.Operation, int)) bool {
	at := func(op *history.Operation) int {
		return slices.IndexFunc(op.Messages, func(s history.Seen) bool { return fits(&s) })
	}
	return m.operation(func(op *history.Operation) bool { return op.Kind == kind && at(op) >= 0 }, func(op *history.Operation) {
		op.Messages = slices.Clone(op.Messages)
		change(op, at(op))
	})
}

func isEdited(s *history.Seen) bool   { return s.Revision != nil && !s.Revision.Redacted }
func isRedacted(s *history.Seen) bool { return s.Revision != nil && s.Revision.Redacted }

// asked changes a revision that fits.
func (m *mutant) asked(fits func(*history.Revise) bool, change func(*history.Operation)) bool {
	return m.operation(func(op *history.Operation) bool { return op.Revise != nil && fits(op.Revise) }, func(op *history.Operation) {
		asked := *op.Revise
		op.Revise = &asked
		change(op)
	})
}

var revisionMutations = []mutation{
	{"show a message as before its edit", "revision", func(m *mutant) bool {
		return m.inRevised(history.KindRevised, isEdited, func(op *history.Operation, at int) { op.Messages[at].Revision = nil })
	}},
	{"show another content than that of the edit", "revision", func(m *mutant) bool {
		return m.inRevised(history.KindFinalRevised, isEdited, func(op *history.Operation, at int) { op.Messages[at].Content++ })
	}},
	{"show the content of a redacted message to a tail", "revision", func(m *mutant) bool {
		return m.inRevised(history.KindRevisedTail, isRedacted, func(op *history.Operation, at int) { op.Messages[at].Content++ })
	}},
	{"leave a revision entry out of a tail", "revision", func(m *mutant) bool {
		return m.inRevised(history.KindRevisedTail, func(s *history.Seen) bool { return s.Revises != nil }, func(op *history.Operation, at int) {
			op.Messages = slices.Delete(op.Messages, at, at+1)
			if len(op.Messages) == 0 {
				op.Messages = []history.Seen{{SeqID: op.From + 2}}
			}
		})
	}},
	{"acknowledge a revision that is not there", "revision", func(m *mutant) bool {
		return m.asked(func(*history.Revise) bool { return true }, func(op *history.Operation) { op.Revise.SeqID++ })
	}},
	{"make a revision that was said to have failed", "revision", func(m *mutant) bool {
		return m.asked(func(*history.Revise) bool { return true }, func(op *history.Operation) { op.Outcome = history.Fail })
	}},
	{"revise what has another revision than the expected one", "revision", func(m *mutant) bool {
		return m.asked(func(r *history.Revise) bool { return r.Expected != nil }, func(op *history.Operation) {
			expected := *op.Revise.Expected + 1
			op.Revise.Expected = &expected
		})
	}},
	{"revise another message", "revision", func(m *mutant) bool {
		return m.asked(func(*history.Revise) bool { return true }, func(op *history.Operation) { op.Revise.Target++ })
	}},
	{"end a revised timeline differently on one node", "revision", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Kind == history.KindFinalRevised && op.Node == "n3" },
			func(op *history.Operation) { op.HeadDigest = "feed" })
	}},
	{"count a redacted message as unread", "unread-count", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Kind == history.KindRevised && len(op.Cursors) > 0 }, func(op *history.Operation) {
			*op.Cursors[0].Unread++
		})
	}},
}
