package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"tidemark"
)

// CheckProgress tells how far a check has come.
type CheckProgress struct {
	// Step is "tables", "timelines" or "readers".
	Step string
	// Done of Total things are checked; Total is 0 if it is not known.
	Done, Total uint64
}

// CheckReport sums up a check that found no damage.
type CheckReport struct {
	Applied tidemark.Applied
	// Timelines, Messages and Cursors were all visited. Bytes is the sum of Draft.Size.
	Timelines, Messages, Cursors, Bytes uint64
	// Tables is the number of tables whose blocks were all read, and TableBytes their size.
	Tables     int
	TableBytes uint64
}

// Check verifies the whole store, as of the moment when it is called, and returns
// the first damage that it finds as tidemark.ErrCorrupt. It proves that
//
//   - every block of every table has its checksum, and newer keys lie above older ones;
//   - the keys are those of the package comment and no others, and all records are well formed;
//   - each timeline has one number, below the next one, and each number one timeline;
//   - each timeline holds exactly the messages from its head's First to its Last, their
//     digests are the chain from the initial digest to the head's, recomputed from
//     the contents, their server times never run backwards, and their sizes add up;
//   - each message but references has its dedupe entry, and there are no others; each
//     reference refers to a message;
//   - each message with a sender has its entry in the index of senders, which counts the
//     messages of each user without a gap, and has no others;
//   - each message that was revised has its revision entry, which says what it has become;
//     delivery lists name references to their message, and the index of redactions counts
//     the redacted messages and no others;
//   - recipient sets, attributes and policies are well formed, and a timeline that was
//     deleted has none, and no cursors;
//   - the change feed holds entries from its start to the applied index alone, and what
//     they name is there or was;
//   - each recipient set has as many inboxes as it says;
//   - each cursor is within its timeline, Read at most Delivered, and is in its
//     reader's index, which has no others.
//
// It reads everything once, in order, with a look-up for each message, and uses
// memory for one message at a time. Reads and writes go on meanwhile. progress may be nil.
func (s *Store) Check(progress func(CheckProgress)) (CheckReport, error) {
	if progress == nil {
		progress = func(CheckProgress) {}
	}
	c := &checker{progress: progress}
	if err := c.run(s); err != nil {
		return CheckReport{}, fmt.Errorf("check store %s: %w", s.dir, err)
	}
	return c.report, nil
}

type checker struct {
	progress func(CheckProgress)
	report   CheckReport
	// look answers single look-ups; the others walk a table each. All are of one moment.
	look, numbers, messages, dedupe, cursors, senders, recipients, changes, deliveries, redacted *walker
	next                                                                                         uint64 // the next timeline number
	// sent counts the messages with a sender of the timeline that is checked, and own
	// those that are no references.
	sent, own uint64
}

func (c *checker) run(s *Store) error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	if err := c.checkTables(s, g); err != nil {
		return err
	}
	state := g.freeze()
	defer state.close()
	for _, w := range []**walker{&c.look, &c.numbers, &c.messages, &c.dedupe, &c.cursors, &c.senders, &c.recipients, &c.changes, &c.deliveries, &c.redacted} {
		if *w, err = newWalker(state); err != nil {
			return err
		}
		defer (*w).close()
	}
	for _, step := range []func() error{c.checkSingles, c.checkTimelines, c.checkHeads, c.checkReaders, c.checkDescriptions, c.checkChanges} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) checkTables(s *Store, g *generation) error {
	names, err := liveTables(g.db)
	if err != nil {
		return err
	}
	p := CheckProgress{Step: "tables", Total: uint64(len(names))}
	c.report.Tables, c.report.TableBytes, err = verifyTables(s.fs, g.dir, names, func() {
		p.Done++
		c.progress(p)
	})
	if err != nil {
		return err
	}
	return wrapPebble(g.db.CheckLevels(nil))
}

// checkSingles checks the three keys that stand alone, and that nothing lies
// before, between or after the tables.
func (c *checker) checkSingles() error {
	w := c.numbers
	for _, key := range [][]byte{keyFormat, keyApplied, keyNextNumber} {
		if err := w.expect(key); err != nil {
			return err
		}
		value, err := w.value()
		if err != nil {
			return err
		}
		switch key[0] {
		case tableFormat:
			if !bytes.Equal(value, binary.BigEndian.AppendUint32(nil, storeFormat)) {
				return damaged(key, "is %x", value)
			}
		case tableApplied:
			c.report.Applied, err = decodeApplied(value)
		case tableNextNumber:
			c.next, err = c.look.nextNumber()
		}
		if err != nil {
			return err
		}
	}
	if w.next() && w.iter.key()[0] < tableHead {
		return damaged(w.iter.key(), "key has no place in the store")
	}
	if w.seek(keyLevel) && bytes.Equal(w.iter.key(), keyLevel) {
		value, err := w.value()
		if err == nil {
			_, err = decodeLevel(value)
		}
		if err != nil {
			return err
		}
		w.next()
	}
	if w.ok && bytes.Equal(w.iter.key(), keyFeed) {
		w.next() // checkChanges reads it
	}
	if w.ok && (w.iter.key()[0] < tableChange || w.iter.key()[0] >= tableEnd) {
		return damaged(w.iter.key(), "key has no place in the store")
	}
	return w.err(nil)
}

// checkTimelines walks the timelines by number, and beside them the tables that
// are ordered by number too.
func (c *checker) checkTimelines() error {
	c.messages.seek([]byte{tableMessage})
	c.dedupe.seek([]byte{tableDedupe})
	c.cursors.seek([]byte{tableCursor})
	c.senders.seek([]byte{tableSender})
	c.recipients.seek([]byte{tableRecipient})
	c.deliveries.seek([]byte{tableDelivery})
	c.redacted.seek([]byte{tableRedacted})
	p := CheckProgress{Step: "timelines", Total: c.next - 1}
	for ok := c.numbers.seek([]byte{tableNumber}); ok && c.numbers.iter.key()[0] == tableNumber; ok = c.numbers.next() {
		key := c.numbers.iter.key()
		number, rest, ok := splitNumber(key)
		if !ok || len(rest) != 0 || number != c.report.Timelines+1 {
			return damaged(key, "timeline number %d is expected here", c.report.Timelines+1)
		}
		id, err := c.numbers.value()
		if err != nil {
			return err
		}
		if err := c.checkTimeline(number, tidemark.TimelineID(id)); err != nil {
			return err
		}
		c.report.Timelines++
		p.Done++
		c.progress(p)
	}
	if err := c.numbers.err(keyNextNumber); err != nil {
		return err
	}
	if c.report.Timelines+1 != c.next {
		return damaged(keyNextNumber, "is %d, with %d timelines", c.next, c.report.Timelines)
	}
	for table, w := range map[byte]*walker{tableMessage: c.messages, tableDedupe: c.dedupe, tableCursor: c.cursors, tableSender: c.senders, tableRecipient: c.recipients,
		tableDelivery: c.deliveries, tableRedacted: c.redacted} {
		if err := w.endOf(table); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) checkTimeline(number uint64, id tidemark.TimelineID) error {
	h, found, err := c.look.anyHead(id)
	if err != nil {
		return err
	}
	if !found || h.Number != number {
		return damaged(appendNumberKey(nil, number), "timeline %q has no head with this number", id)
	}
	if err := c.checkMessages(&h); err != nil {
		return err
	}
	if err := c.countDedupe(&h); err != nil {
		return err
	}
	if err := c.countSenders(&h); err != nil {
		return err
	}
	if err := c.checkRecipients(&h); err != nil {
		return err
	}
	if h.Deleted && c.cursors.at(tableCursor, h.Number) {
		return damaged(c.cursors.iter.key(), "its timeline was deleted")
	}
	if err := c.checkDeliveries(&h); err != nil {
		return err
	}
	if err := c.checkRedactions(&h); err != nil {
		return err
	}
	return c.checkCursors(&h)
}

// checkHeads counts the heads: each number has one of its own, so there are no
// others if there are as many.
func (c *checker) checkHeads() error {
	count := uint64(0)
	key := []byte{tableHead}
	err := c.look.scan(key, key, func(key, record []byte) (bool, error) {
		count++
		_, err := decodeHead(key, record)
		return true, err
	})
	if err == nil && count != c.report.Timelines {
		err = damaged(keyNextNumber, "there are %d heads and %d timeline numbers", count, c.report.Timelines)
	}
	return err
}

// checkDescriptions reads recipient sets, attributes and policies, whose timelines must
// be there and not be deleted.
func (c *checker) checkDescriptions() error {
	for _, table := range []byte{tableRecipientSet, tableAttributes, tablePolicy} {
		var numbers []uint64
		prefix := []byte{table}
		err := c.look.scan(prefix, prefix, func(key, record []byte) (bool, error) {
			if table == tablePolicy {
				_, err := decodePolicy(key, record)
				return true, err
			}
			number, rest, ok := splitNumber(key)
			if !ok || len(rest) != 0 || number == 0 || number >= c.next {
				return false, damaged(key, "there is no such timeline")
			}
			numbers = append(numbers, number)
			var err error
			if table == tableRecipientSet {
				_, _, err = decodeRecipientSet(key, record)
			} else {
				_, err = decodeAttributes(key, record)
			}
			return true, err
		})
		if err != nil {
			return err
		}
		for _, number := range numbers {
			id, err := c.look.timelineID(number)
			if err != nil {
				return err
			}
			if h, _, err := c.look.anyHead(id); err != nil || h.Deleted {
				return errors.Join(err, damaged(appendNumberPrefix(nil, table, number), "its timeline was deleted"))
			}
		}
	}
	return nil
}

// checkReaders counts the entries of the readers' indexes: each cursor has one of
// its own, so there are no others if there are as many.
func (c *checker) checkReaders() error {
	key := []byte{tableReader}
	p := CheckProgress{Step: "readers", Total: c.report.Cursors}
	err := c.look.scan(key, key, func(key, value []byte) (bool, error) {
		if _, _, ok := splitReaderKey(key); !ok || len(value) != 0 {
			return false, damaged(key, "entry is malformed")
		}
		p.Done++
		c.progress(p)
		return true, nil
	})
	if err == nil && p.Done != c.report.Cursors {
		err = damaged(key, "there are %d entries in the readers' indexes and %d cursors", p.Done, c.report.Cursors)
	}
	return err
}
