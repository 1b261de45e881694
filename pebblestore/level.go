package pebblestore

import "encoding/binary"

// FirstLevel is the feature level of a store that says nothing else. A level names what
// all members of the cluster are known to understand; what it means is not the store's.
const FirstLevel uint32 = 1

// Level is the feature level that the last committed batch left.
func (s *Store) Level() uint32 { return s.present().level.Load() }

// SetLevel sets the feature level that the batch leaves.
func (b *Batch) SetLevel(level uint32) { b.level = level }

// Level is the feature level as this batch would leave it.
func (b *Batch) Level() uint32 {
	if b.level != 0 || b.view == nil {
		return b.level
	}
	return b.view.gen.level.Load()
}

func appendLevel(b []byte, level uint32) []byte { return binary.BigEndian.AppendUint32(b, level) }

func decodeLevel(record []byte) (uint32, error) {
	if len(record) != 4 || binary.BigEndian.Uint32(record) <= FirstLevel {
		return 0, damaged(keyLevel, "record is malformed")
	}
	return binary.BigEndian.Uint32(record), nil
}

// loadLevel reads the feature level of a database that was opened.
func (g *generation) loadLevel() error {
	record, err := g.get(keyLevel)
	if err != nil {
		return err
	}
	level := FirstLevel
	if record != nil {
		if level, err = decodeLevel(record); err != nil {
			return err
		}
	}
	g.level.Store(level)
	return nil
}
