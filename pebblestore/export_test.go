package pebblestore

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// FlushIntoLog puts what was committed since into the log of the database, synced, as versions did whose
// flushes were batches.
func (s *Store) FlushIntoLog() error {
	g := s.present()
	g.mu.Lock()
	defer g.mu.Unlock()
	before, err := g.get(keyApplied)
	if err != nil {
		return err
	}
	applied, err := decodeApplied(before)
	if err != nil {
		return err
	}
	batch := g.db.NewBatch()
	errs := []error{batch.LogData(binary.BigEndian.AppendUint64(nil, applied.Index), nil)}
	g.active.spans.Scan(func(s span) bool {
		errs = append(errs, batch.DeleteRange(s.start, s.end, nil))
		return true
	})
	g.active.entries.Scan(func(e entry) bool {
		if e.value() == nil {
			errs = append(errs, batch.Delete(e.key(), nil))
		} else {
			errs = append(errs, batch.Set(e.key(), e.value(), nil))
		}
		return true
	})
	g.active, g.frozen = newBuffer(), nil
	return errors.Join(append(errs, batch.Commit(pebble.Sync))...)
}
