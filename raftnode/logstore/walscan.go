package logstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// scanWAL checks all of a log kept by raft-wal without changing it, and adds its
// entries to c. It runs before the library opens the log, because the library
// deletes the segments that damaged metadata does not name.
func scanWAL(dir string, c *chain) (walTail, error) {
	state, err := readWALMeta(dir)
	if err != nil {
		return walTail{}, err
	}
	if err := checkWALFiles(dir, state); err != nil {
		return walTail{}, err
	}
	for i, info := range state.Segments {
		path := filepath.Join(dir, segment.FileName(info))
		if i == len(state.Segments)-1 {
			t, err := scanTail(path, info, c)
			if err != nil {
				return t, corrupt(path, "%v", err)
			}
			return t, nil
		}
		if err := scanSealed(path, info, c); err != nil {
			return walTail{}, corrupt(path, "%v", err)
		}
	}
	return walTail{}, nil // a log without segments was never opened for writing
}

// readWALMeta reads the list of segments, and checks that it makes sense.
func readWALMeta(dir string) (types.PersistentState, error) {
	path := filepath.Join(dir, metadb.FileName)
	var state types.PersistentState
	err := boltScan(path, func(bucket string, key, value []byte) error {
		if bucket != metadb.MetaBucket || string(key) != metadb.MetaKey {
			return nil
		}
		d := json.NewDecoder(bytes.NewReader(value))
		d.DisallowUnknownFields()
		if err := d.Decode(&state); err != nil {
			return corrupt(path, "list of segments: %v", err)
		}
		return nil
	})
	if err != nil {
		return state, err
	}
	for i, s := range state.Segments {
		tail := i == len(state.Segments)-1
		var bad string
		switch {
		case s.Codec != walCodec:
			bad = fmt.Sprintf("codec %d", s.Codec)
		case s.ID >= state.NextSegmentID:
			bad = fmt.Sprintf("id beyond %d", state.NextSegmentID)
		case s.BaseIndex == 0 || s.MinIndex < s.BaseIndex:
			bad = fmt.Sprintf("first index %d, base %d", s.MinIndex, s.BaseIndex)
		case i > 0 && (s.BaseIndex != state.Segments[i-1].MaxIndex+1 || s.MinIndex != s.BaseIndex):
			bad = fmt.Sprintf("starts at %d after the segment that ends at %d", s.MinIndex, state.Segments[i-1].MaxIndex)
		case tail && !s.SealTime.IsZero():
			bad = "sealed, but the last one"
		case !tail && (s.SealTime.IsZero() || s.MaxIndex < s.MinIndex || s.IndexStart == 0):
			bad = "not sealed, but not the last one"
		default:
			continue
		}
		return state, corrupt(path, "segment %d: %s", s.ID, bad)
	}
	return state, nil
}

// checkWALFiles looks for segments that the metadata does not know yet. Numbers
// are given out, durably, before a file is made: such a file means that the
// metadata went back in time.
func checkWALFiles(dir string, state types.PersistentState) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".wal") {
			continue
		}
		var base, id uint64
		if _, err := fmt.Sscanf(f.Name(), "%020d-%016x.wal", &base, &id); err != nil {
			return corrupt(filepath.Join(dir, f.Name()), "this is not a name of a segment")
		}
		if id >= state.NextSegmentID {
			return corrupt(filepath.Join(dir, metadb.FileName), "segment %s exists, but ids up to %d were given out",
				f.Name(), state.NextSegmentID)
		}
	}
	return nil
}
