package pebblestore

import (
	"slices"

	"tidemark"
)

// minPullShare is the least part of the byte budget that is worth another look-up.
const minPullShare = 1 << 10

// Pull returns what is new in many timelines, all as of one moment. Lower classes are
// served first. Within a class the bytes are shared out evenly; what one timeline does
// not need goes to the others. It costs a look-up for each position, and reads no more
// messages than it returns, but for one of each timeline and round.
func (s *Store) Pull(p tidemark.Pull) (page tidemark.PullPage, err error) {
	v, err := s.view()
	if err != nil {
		return page, err
	}
	defer v.close()
	if page.Applied, err = v.appliedIndex(); err != nil {
		return page, err
	}
	news, err := v.news(&p)
	if err != nil {
		return page, err
	}
	serving := pulling{view: v, pull: &p, left: p.MaxBytes}
	for _, class := range classesOf(news, p.Turn) {
		if serving.full {
			serving.more = true
			break
		}
		if err := serving.share(class); err != nil {
			return page, err
		}
	}
	page.Timelines, page.More = serving.served, serving.more
	return page, nil
}

// news are the timelines that hold something after the reader's position.
func (v *view) news(p *tidemark.Pull) ([]tidemark.Pulled, error) {
	var news []tidemark.Pulled
	for i := range p.Positions {
		at := &p.Positions[i]
		head, found, err := v.head(at.Timeline)
		if err != nil {
			return nil, err
		}
		if !found || !at.FromCursor && at.After >= head.Last {
			continue
		}
		pulled := tidemark.Pulled{Head: head, After: at.After, Class: at.Class}
		if p.Reader != "" {
			if pulled.Cursor, err = v.cursorOrNone(&head, p.Reader); err != nil {
				return nil, err
			}
		}
		if at.FromCursor {
			pulled.After = pulled.Cursor.Delivered
		}
		if pulled.After < head.Last {
			news = append(news, pulled)
		}
	}
	return news, nil
}

// cursorOrNone returns a cursor without marks for a reader that has none.
func (v *view) cursorOrNone(h *tidemark.Head, reader tidemark.ReaderID) (tidemark.Cursor, error) {
	c, found, err := v.cursor(h.Number, reader)
	if !found {
		c = tidemark.Cursor{Reader: reader, UpdatedTime: tidemark.NoTime}
	}
	c.Timeline = h.Timeline
	return c, err
}

// classesOf splits what has news by class, lowest first, and turns each class so that
// another timeline is the first.
func classesOf(news []tidemark.Pulled, turn uint64) [][]tidemark.Pulled {
	slices.SortStableFunc(news, func(a, b tidemark.Pulled) int { return int(a.Class) - int(b.Class) })
	var classes [][]tidemark.Pulled
	for len(news) > 0 {
		n := 1
		for n < len(news) && news[n].Class == news[0].Class {
			n++
		}
		first := int(turn % uint64(n))
		classes = append(classes, slices.Concat(news[first:n], news[:first]))
		news = news[n:]
	}
	return classes
}

// pulling is a Pull that is being answered.
type pulling struct {
	view   *view
	pull   *tidemark.Pull
	left   int // bytes
	served []tidemark.Pulled
	// messages counts those of served.
	messages int
	// more says that news was left out, and full that it was for the bytes.
	more, full bool
}

// share serves the timelines of one class, in rounds: in each, every timeline that has
// more gets the same part of what is left.
func (p *pulling) share(class []tidemark.Pulled) error {
	first := len(p.served)
	for i := range class {
		head := tidemark.PullCost(class[i].Head.Timeline, 0)
		if p.left < head && len(p.served) > 0 {
			p.more, p.full = true, true
			break
		}
		part := max(p.left/(len(class)-i), minPullShare)
		p.left -= head
		p.served = append(p.served, class[i])
		if err := p.extend(&p.served[len(p.served)-1], part); err != nil {
			return err
		}
	}
	served := p.served[first:]
	for {
		before := p.left
		if err := p.round(served); err != nil {
			return err
		}
		if p.left == before {
			break
		}
	}
	for i := range served {
		p.more = p.more || served[i].More
		p.full = p.full || p.wants(&served[i])
	}
	return nil
}

// round gives the same part of what is left to all that have more, if it is worth it.
func (p *pulling) round(served []tidemark.Pulled) error {
	waiting := 0
	for i := range served {
		if p.wants(&served[i]) {
			waiting++
		}
	}
	part := p.left / max(waiting, 1)
	if part < minPullShare {
		return nil
	}
	for i := range served {
		if !p.wants(&served[i]) {
			continue
		}
		if err := p.extend(&served[i], part); err != nil {
			return err
		}
	}
	return nil
}

// wants reports whether the timeline has more that it may get.
func (p *pulling) wants(t *tidemark.Pulled) bool {
	return t.More && len(t.Messages) < p.pull.MaxMessages
}

// extend adds messages of at most part bytes to a timeline, and at least one to a
// timeline that has none as long as it fits into all that is left, or nothing was
// served at all.
func (p *pulling) extend(t *tidemark.Pulled, part int) error {
	v, h := p.view, &t.Head
	part = min(part, p.left)
	next := max(t.After+1, h.First)
	if n := len(t.Messages); n > 0 {
		next = t.Messages[n-1].SeqID + 1
	}
	seq := next
	if len(t.Messages) == 0 {
		if next > 1 {
			seq-- // is passed on the way, for its digest
		} else {
			t.PreviousDigest = tidemark.InitialDigest(h.Timeline)
		}
	}
	v.key = appendMessageKey(v.key[:0], h.Number, seq)
	for ok := v.iter.SeekGE(v.key); seq <= h.Last && len(t.Messages) < p.pull.MaxMessages; ok = v.iter.Next() {
		record, err := v.recordHere(ok, h.Number, seq)
		if err != nil {
			return err
		}
		if seq < next {
			if t.PreviousDigest, err = messageDigest(v.key, record); err != nil {
				return err
			}
			seq++
			continue
		}
		m, err := decodeMessage(h.Timeline, v.key, record)
		if err != nil {
			return err
		}
		cost := tidemark.PullCost(h.Timeline, m.Size())
		if cost > part && (len(t.Messages) > 0 || cost > p.left && p.messages > 0) {
			break
		}
		t.Messages = append(t.Messages, m)
		part, p.left, p.messages = part-cost, p.left-cost, p.messages+1
		seq++
	}
	t.More = seq <= h.Last
	return nil
}
