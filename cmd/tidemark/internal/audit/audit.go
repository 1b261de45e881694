// Package audit compares what the nodes of a cluster hold, while it runs, through the
// SDK. It needs no quiet cluster: a digest stands for all messages up to its own, so two
// nodes are compared up to where both have come; and what one node shows at a position of
// the log, every other one must show when it has applied that position.
package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"tidemark"
	"tidemark/client"
)

// Config says what to compare.
type Config struct {
	// Endpoints are the client addresses of at least two nodes.
	Endpoints []string
	// Prefix narrows it to timelines whose names begin with it.
	Prefix string
	// Cursors compares the cursors of each timeline too, by a listing for each.
	Cursors bool
	// Settings compares attributes and recipient sets of each timeline, and all retention
	// policies.
	Settings bool
	// Progress is told of each timeline that was compared; it may be nil.
	Progress func()
}

// Report is what was found.
type Report struct {
	Endpoints []string `json:"endpoints"`
	// Timelines, Messages and Cursors were compared on all nodes.
	Timelines uint64 `json:"timelines"`
	Messages  uint64 `json:"messages"`
	Cursors   uint64 `json:"cursors"`
	// Difference is the first one, or nil.
	Difference *Difference `json:"difference,omitempty"`
}

// Difference is where two nodes do not hold the same.
type Difference struct {
	// Timeline is empty if the difference is one of the whole cluster.
	Timeline tidemark.TimelineID `json:"timeline,omitempty"`
	// SeqID is the first message that differs; 0 if the difference is not one of messages.
	SeqID tidemark.SeqID `json:"seq_id,omitempty"`
	// One and Other are the endpoints, and What each of them shows.
	One       string `json:"one"`
	Other     string `json:"other"`
	WhatOne   string `json:"what_one"`
	WhatOther string `json:"what_other"`
}

// Error says it in a sentence.
func (d *Difference) Error() string {
	place := string(d.Timeline)
	if d.Timeline == "" {
		place = "the cluster"
	}
	if d.SeqID > 0 {
		place = fmt.Sprintf("%s, message %d", place, d.SeqID)
	}
	return fmt.Sprintf("%s: %s shows %s, and %s shows %s", place, d.One, d.WhatOne, d.Other, d.WhatOther)
}

// Run compares all nodes. A difference is in the report, and no error.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if len(cfg.Endpoints) < 2 {
		return nil, tidemark.Invalid("endpoints", "must be at least 2 to be compared; there are %d", len(cfg.Endpoints))
	}
	a := &audit{Config: cfg, report: &Report{Endpoints: cfg.Endpoints}}
	for _, endpoint := range cfg.Endpoints {
		c, err := client.New([]string{endpoint}, client.WithoutDiscovery())
		if err != nil {
			return nil, err
		}
		defer c.Close()
		a.nodes = append(a.nodes, c)
	}
	err := a.distinct(ctx)
	if err == nil && cfg.Settings {
		err = a.same(ctx, "", policiesOf)
	}
	if err == nil {
		err = a.run(ctx)
	}
	if found := (*Difference)(nil); errors.As(err, &found) {
		a.report.Difference, err = found, nil
	}
	return a.report, err
}

type audit struct {
	Config
	nodes  []*client.Client
	report *Report
}

// distinct refuses to compare a node with itself.
func (a *audit) distinct(ctx context.Context) error {
	names := map[string]string{}
	for i, node := range a.nodes {
		status, err := node.Cluster().Status(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Endpoints[i], err)
		}
		// Clusters that do not know of each other may use one name twice.
		name := status.GetNodeId()
		for _, member := range status.GetMembers() {
			if member.GetNodeId() == status.GetNodeId() {
				name += " at " + member.GetRaftAddress()
			}
		}
		if first, twice := names[name]; twice {
			return tidemark.Invalid("endpoints", "must be different nodes; %s and %s are both %s", first, a.Endpoints[i], status.GetNodeId())
		}
		names[name] = a.Endpoints[i]
	}
	return nil
}

// run walks the nodes' timelines side by side, in byte order of their names.
func (a *audit) run(ctx context.Context) error {
	walks := make([]*walk, len(a.nodes))
	for i, node := range a.nodes {
		next, stop := iter.Pull2(node.Timelines(ctx, a.Prefix, client.Linearizable()))
		defer stop()
		walks[i] = &walk{next: next}
		if err := walks[i].step(); err != nil {
			return fmt.Errorf("%s: %w", a.Endpoints[i], err)
		}
	}
	for {
		least, any := tidemark.TimelineID(""), false
		for _, w := range walks {
			if w.on && (!any || w.head.ID < least) {
				least, any = w.head.ID, true
			}
		}
		if !any {
			return nil
		}
		heads := make([]*client.Timeline, len(walks))
		for i, w := range walks {
			if !w.on || w.head.ID != least {
				continue
			}
			head := w.head
			heads[i] = &head
			if err := w.step(); err != nil {
				return fmt.Errorf("%s: %w", a.Endpoints[i], err)
			}
		}
		if err := a.timeline(ctx, least, heads); err != nil {
			return err
		}
	}
}

// walk is one node's listing.
type walk struct {
	next func() (client.Timeline, error, bool)
	head client.Timeline
	on   bool
}

func (w *walk) step() error {
	head, err, on := w.next()
	w.head, w.on = head, on && err == nil
	return err
}

// timeline compares one timeline with that of the node that has come farthest. A node
// whose listing left it out, or showed less, is asked again, at the position of that one.
func (a *audit) timeline(ctx context.Context, id tidemark.TimelineID, heads []*client.Timeline) error {
	most := -1
	for i, head := range heads {
		if head != nil && (most < 0 || head.Last > heads[most].Last) {
			most = i
		}
	}
	position := a.nodes[most].Position()
	for i := range heads {
		if i == most {
			continue
		}
		if heads[i] == nil || heads[i].Last < heads[most].Last {
			head, err := a.nodes[i].Timeline(ctx, id, client.SessionAt(position))
			if err == nil && head.Last >= heads[most].Last {
				heads[i] = &head
			} else if err == nil || errors.Is(err, tidemark.ErrTimelineNotFound) {
				// Maybe it was deleted, or deleted and made anew, since it was listed.
				if changed, err := a.changed(ctx, id, most, heads[most]); err != nil || changed {
					return err
				}
				return &Difference{
					Timeline: id, SeqID: head.Last + 1, One: a.Endpoints[most], Other: a.Endpoints[i],
					WhatOne: fmt.Sprintf("%d messages", heads[most].Last), WhatOther: fmt.Sprintf("%d messages after it has applied the same position", head.Last),
				}
			} else {
				return fmt.Errorf("%s: %w", a.Endpoints[i], err)
			}
		}
		if err := a.digests(ctx, id, most, i, heads[most], heads[i]); err != nil {
			return err
		}
	}
	a.report.Timelines++
	a.report.Messages += heads[most].Count
	if a.Progress != nil {
		a.Progress()
	}
	if a.Settings {
		if err := a.timelineSettings(ctx, id); err != nil {
			return err
		}
	}
	if a.Cursors {
		return a.cursors(ctx, id)
	}
	return nil
}

// changed says that a timeline is not any more what a node has listed: it was deleted, or
// trimmed beyond what was listed. There is nothing to compare then.
func (a *audit) changed(ctx context.Context, id tidemark.TimelineID, node int, listed *client.Timeline) (bool, error) {
	now, err := a.nodes[node].Timeline(ctx, id, client.Linearizable())
	if errors.Is(err, tidemark.ErrTimelineNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", a.Endpoints[node], err)
	}
	return now.First > listed.Last || !now.CreatedTime.Equal(listed.CreatedTime), nil
}

// digests compares a timeline up to the end of what node one has shown, which the other has too.
func (a *audit) digests(ctx context.Context, id tidemark.TimelineID, one, other int, of, with *client.Timeline) error {
	if of.Last == with.Last && of.Digest == with.Digest {
		return nil
	}
	at := client.SessionAt(a.nodes[one].Position())
	verified, err := a.nodes[other].VerifyDigests(ctx, id, []client.Digest{{SeqID: of.Last, Digest: of.Digest}}, at)
	if errors.Is(err, tidemark.ErrMessageNotFound) || errors.Is(err, tidemark.ErrTimelineNotFound) {
		if changed, changedErr := a.changed(ctx, id, one, of); changedErr != nil || changed {
			return changedErr
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.Endpoints[other], err)
	}
	switch {
	case verified.Equal && of.Last == with.Last:
		// The message is the same, and the head is not: the next one would go on wrongly.
		return &Difference{
			Timeline: id, SeqID: of.Last, One: a.Endpoints[one], Other: a.Endpoints[other],
			WhatOne: "the digest " + of.Digest.String() + " in its head", WhatOther: "the digest " + with.Digest.String() + " in its head",
		}
	case verified.Equal:
		return nil
	}
	return a.locate(ctx, id, one, other, of.First, of.Last)
}

// locate finds the first message that differs, by halving: the digests at last differ.
func (a *audit) locate(ctx context.Context, id tidemark.TimelineID, one, other int, first, last tidemark.SeqID) error {
	for first < last {
		middle := first + (last-first)/2
		x, y, err := a.both(ctx, id, one, other, middle)
		if err != nil {
			return err
		}
		if x.Digest == y.Digest {
			first = middle + 1
		} else {
			last = middle
		}
	}
	x, y, err := a.both(ctx, id, one, other, last)
	if err != nil {
		return err
	}
	if x.Digest == y.Digest {
		return fmt.Errorf("%s: %s and %s differed, and do not any more; audit them again", id, a.Endpoints[one], a.Endpoints[other])
	}
	what := func(m *client.Message) string {
		return fmt.Sprintf("message id %q of %q with %d bytes, digest %s", m.ID, m.Sender, len(m.Payload), m.Digest)
	}
	return &Difference{Timeline: id, SeqID: last, One: a.Endpoints[one], Other: a.Endpoints[other], WhatOne: what(&x), WhatOther: what(&y)}
}

func (a *audit) both(ctx context.Context, id tidemark.TimelineID, one, other int, seq tidemark.SeqID) (x, y client.Message, err error) {
	at := client.SessionAt(max(a.nodes[one].Position(), a.nodes[other].Position()))
	if x, err = a.nodes[one].Get(ctx, id, seq, at); err != nil {
		return x, y, fmt.Errorf("%s: %w", a.Endpoints[one], err)
	}
	if y, err = a.nodes[other].Get(ctx, id, seq, at); err != nil {
		return x, y, fmt.Errorf("%s: %w", a.Endpoints[other], err)
	}
	return x, y, nil
}

// marks are what a node shows of one cursor.
type marks struct{ delivered, read, floor tidemark.SeqID }

// cursors compares the cursors of a timeline, once more if marks went back, which a rewind
// may have done in between.
func (a *audit) cursors(ctx context.Context, id tidemark.TimelineID) error {
	var difference *Difference
	for range cursorAttempts {
		err := a.cursorsOnce(ctx, id)
		if errors.Is(err, tidemark.ErrTimelineNotFound) {
			return nil // it was deleted meanwhile
		}
		if !errors.As(err, &difference) {
			return err
		}
	}
	return difference
}

// cursorAttempts is how often a difference of cursors must show.
const cursorAttempts = 3

// cursorsOnce reads the cursors of a timeline from each node in turn, and from the first
// once more at the end, each at the position of the one before: as marks only grow but
// for a rewind, none may show less than the one before it.
func (a *audit) cursorsOnce(ctx context.Context, id tidemark.TimelineID) error {
	var before map[tidemark.ReaderID]marks
	level, last := client.Linearizable(), 0
	for turn := range len(a.nodes) + 1 {
		at := turn % len(a.nodes)
		shown := map[tidemark.ReaderID]marks{}
		for cursor, err := range a.nodes[at].TimelineCursors(ctx, id, level) {
			if err != nil {
				return fmt.Errorf("%s: %w", a.Endpoints[at], err)
			}
			shown[cursor.Reader] = marks{cursor.Delivered, cursor.Read, cursor.Floor}
		}
		for reader, m := range before {
			if now := shown[reader]; now.delivered < m.delivered || now.read < m.read || now.floor < m.floor {
				what := func(m marks) string {
					return fmt.Sprintf("the cursor of %q at delivered %d, read %d, floor %d", reader, m.delivered, m.read, m.floor)
				}
				return &Difference{Timeline: id, One: a.Endpoints[last], Other: a.Endpoints[at], WhatOne: what(m), WhatOther: what(now)}
			}
		}
		before, last = shown, at
		level = client.SessionAt(a.nodes[at].Position())
	}
	a.report.Cursors += uint64(len(before))
	return nil
}
