package pebblestore

import (
	"slices"

	"tidemark"
)

// minPullShare is the least part of the byte budget that is worth another look-up.
const minPullShare = 1 << 10

// Pull returns what is new in many timelines, all as of one moment. Lower classes are
// served first. Within a class the bytes are shared out evenly; what one timeline does
// not need goes to the others. It costs a look-up or two for each position, and decodes
// no message but those that it returns.
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

// news are the timelines that do not end at the reader's position.
func (v *view) news(p *tidemark.Pull) ([]tidemark.Pulled, error) {
	var news []tidemark.Pulled
	for i := range p.Positions {
		at := &p.Positions[i]
		head, found, err := v.head(at.Timeline)
		if err != nil {
			return nil, err
		}
		if !found {
			head = tidemark.Head{
				Timeline: at.Timeline, First: 1, CreatedTime: tidemark.NoTime, LastTime: tidemark.NoTime, Digest: tidemark.InitialDigest(at.Timeline),
			}
		}
		if !at.FromCursor && at.After == head.Last {
			continue
		}
		pulled := tidemark.Pulled{Head: head, After: at.After, Class: at.Class}
		if found && p.Reader != "" {
			if pulled.Cursor, err = v.cursorOrNone(&head, p.Reader); err != nil {
				return nil, err
			}
		}
		if at.FromCursor {
			pulled.After = pulled.Cursor.Delivered
		}
		if found && p.Reader != "" && pulled.After != head.Last {
			if pulled.Unread, err = v.unread(&head, &pulled.Cursor); err != nil {
				return nil, err
			}
		}
		if pulled.After != head.Last {
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
	// refused has, for each of served, the cost of the message that did not fit, or 0. It
	// is not looked at again until there is room for it.
	refused []int
	// messages counts those of served.
	messages int
	// more says that news was left out, and full that it was for the bytes.
	more, full bool
}

// share serves the timelines of one class, in rounds: in each, every timeline that has
// more gets the same part of what is left.
func (p *pulling) share(class []tidemark.Pulled) error {
	first := len(p.served)
	part := max(p.left/len(class), minPullShare)
	for i := range class {
		head := tidemark.PullCost(class[i].Head.Timeline, 0)
		// There is no message to wait for, also where all that is new is hidden or gone.
		ahead := class[i].After > class[i].Head.Last || max(class[i].Head.First, class[i].Cursor.Floor) > class[i].Head.Last
		if p.left < head && ahead {
			p.more = true // there is no message to wait for, so it holds nobody up
			continue
		}
		if p.left < head && p.messages > 0 {
			p.more, p.full = true, true
			break
		}
		p.left -= head
		p.served, p.refused = append(p.served, class[i]), append(p.refused, 0)
		if err := p.extend(len(p.served)-1, part); err != nil {
			return err
		}
	}
	for {
		before := p.left
		if err := p.round(first); err != nil {
			return err
		}
		if p.left == before {
			break
		}
	}
	for i := first; i < len(p.served); i++ {
		p.more = p.more || p.served[i].More
		p.full = p.full || p.wants(i)
	}
	return nil
}

// round gives the same part of what is left to all timelines from first on that have more
// and can use it, if it is worth it.
func (p *pulling) round(first int) error {
	waiting := 0
	for i := first; i < len(p.served); i++ {
		if p.wants(i) && p.refused[i] <= p.left {
			waiting++
		}
	}
	part := p.left / max(waiting, 1)
	if part < minPullShare {
		return nil
	}
	for i := first; i < len(p.served); i++ {
		if !p.wants(i) || p.refused[i] > part {
			continue
		}
		if err := p.extend(i, part); err != nil {
			return err
		}
	}
	return nil
}

// wants reports whether a timeline has more that it may get.
func (p *pulling) wants(i int) bool {
	return p.served[i].More && len(p.served[i].Messages) < p.pull.MaxMessages
}

// extend adds messages of at most part bytes to a timeline, and at least one to a
// timeline that has none as long as it fits into all that is left, or nothing was
// served at all. A message counts with the size of its record.
func (p *pulling) extend(i, part int) error {
	v, t := p.view, &p.served[i]
	h := &t.Head
	if t.After >= h.Last {
		return nil // the reader is ahead, maybe so far that After+1 is no SeqID
	}
	part = min(part, p.left)
	next := max(t.After+1, h.First, t.Cursor.Floor)
	if n := len(t.Messages); n > 0 {
		next = t.Messages[n-1].SeqID + 1
	}
	seq := next
	if len(t.Messages) == 0 {
		if next > h.First {
			seq-- // is passed on the way, for its digest
		} else {
			t.PreviousDigest = h.FirstDigest()
		}
	}
	v.ahead = int(min(uint64(h.Last-next)+1, uint64(p.pull.MaxMessages-len(t.Messages))))
	v.key = appendMessageKey(v.key[:0], h.Number, seq)
	for ok := v.iter.seekGE(v.key); seq <= h.Last && len(t.Messages) < p.pull.MaxMessages; ok = v.iter.next() {
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
		m, n, err := v.measure(h.Timeline, record)
		if err != nil {
			return err
		}
		cost := tidemark.PullCost(h.Timeline, n)
		if cost > part && (len(t.Messages) > 0 || cost > p.left && p.messages > 0) {
			p.refused[i] = cost
			break
		}
		if m == nil {
			decoded, err := v.decode(h.Timeline, v.key, record)
			if err != nil {
				return err
			}
			m = &decoded
		}
		t.Messages = append(t.Messages, *m)
		part, p.left, p.messages = part-cost, p.left-cost, p.messages+1
		seq++
	}
	t.More = seq <= h.Last
	return nil
}

// measure is what a record counts: its size, or that of the message that it refers to,
// which is returned then.
func (v *view) measure(timeline tidemark.TimelineID, record []byte) (m *tidemark.Message, n int, err error) {
	if !hasOther(record) {
		return nil, len(record), nil
	}
	resolved, err := v.decode(timeline, v.key, record)
	return &resolved, resolved.Size(), err
}
