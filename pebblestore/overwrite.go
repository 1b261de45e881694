package pebblestore

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// overwriteSync is after how many keys overwrite syncs, so that a crash finds it at work.
const overwriteSync = 16

// overwrite is a planted bug, in place of the rename of CURRENT: it copies what was
// received over the database in force, key by key and synced now and then. The applied
// record is among the first, and heads are the last, so a crash in between leaves the
// index of the new state without the timelines that it speaks of.
func (s *Store) overwrite(received *generation) error {
	g := s.present()
	g.flushAll()
	g.ids.complete.Store(false) // it knows nothing of what comes here
	if err := g.db.DeleteRange(keyFormat, []byte{tableEnd}, pebble.Sync); err != nil {
		return err
	}
	keys, err := received.db.NewIter(nil)
	if err != nil {
		return err
	}
	copied := 0
	put := func() error {
		copied++
		return g.db.Set(keys.Key(), keys.Value(), &pebble.WriteOptions{Sync: copied%overwriteSync == 0})
	}
	for keys.First(); err == nil && keys.Valid() && keys.Key()[0] < tableHead; keys.Next() {
		err = put()
	}
	for keys.Last(); err == nil && keys.Valid() && keys.Key()[0] >= tableHead; keys.Prev() {
		err = put()
	}
	if err == nil {
		err = g.db.LogData(nil, pebble.Sync)
	}
	last := received.last.Load()
	g.last.Store(last)
	g.durable.Store(last)
	g.level.Store(received.level.Load())
	return errors.Join(err, keys.Error(), keys.Close())
}
