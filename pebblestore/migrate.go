package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"

	"tidemark"
)

// migrateBatchBytes bounds one batch of a migration.
const migrateBatchBytes = 1 << 20

// migrate brings a database of an older format to the present one, or leaves it as it is
// for the next start to begin again: the format is written last, and synced.
//
// Format 1 had no index of senders. It follows from the messages alone, so that it is the
// same on all replicas whenever each of them makes it.
func (g *generation) migrate(from uint32, e *events, log *slog.Logger) error {
	log.Info("bringing the store to the present format", "dir", g.dir, "from", from, "to", storeFormat)
	m := migration{db: g.db, events: e, out: g.db.NewBatch()}
	defer func() { _ = m.out.Close() }() // of a batch in memory: nothing can fail that matters
	err := m.out.DeleteRange([]byte{tableSender}, []byte{tableSender + 1}, nil)
	if err == nil {
		err = m.indexSenders()
	}
	if err == nil {
		err = m.out.Set(keyFormat, binary.BigEndian.AppendUint32(nil, storeFormat), nil)
	}
	if err == nil {
		err = m.commit(pebble.Sync)
	}
	if err != nil {
		return wrapPebble(fmt.Errorf("bring %s to format %d: %w", g.dir, storeFormat, err))
	}
	return nil
}

type migration struct {
	db     *pebble.DB
	events *events
	out    *pebble.Batch
}

func (m *migration) commit(how *pebble.WriteOptions) error {
	err := m.events.guard("migrate", func() error { return m.out.Commit(how) })
	err = errors.Join(err, m.out.Close())
	m.out = m.db.NewBatch()
	return err
}

// indexSenders reads all messages once. It remembers the senders of one timeline.
func (m *migration) indexSenders() error {
	iter, err := m.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableMessage}, UpperBound: []byte{tableMessage + 1}})
	if err != nil {
		return err
	}
	defer func() { _ = iter.Close() }() // its error is that of the last positioning
	present, sent := uint64(0), map[string]uint64{}
	var key, value []byte
	for ok := iter.First(); ok; ok = iter.Next() {
		number, seq, ok := splitMessageKey(iter.Key())
		if !ok {
			return damaged(iter.Key(), "key is malformed")
		}
		if number != present {
			present = number
			clear(sent)
		}
		record, err := iter.ValueAndErr()
		if err != nil {
			return err
		}
		message, err := decodeMessage("", iter.Key(), record)
		if err != nil {
			return err
		}
		user := tidemark.UserOf(message.Sender)
		if user == "" {
			continue
		}
		sent[user]++
		key, value = appendSenderKey(key[:0], number, user, seq), binary.AppendUvarint(value[:0], sent[user])
		if err := m.out.Set(key, value, nil); err != nil {
			return err
		}
		if m.out.Len() > migrateBatchBytes {
			if err := m.commit(pebble.NoSync); err != nil {
				return err
			}
		}
	}
	return iter.Error()
}
