package logstore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"tidemark/internal/planted"
)

// backend is a log store of a library, with what the library does not offer.
type backend interface {
	raft.LogStore
	io.Closer
	// fileOf names the file that holds an entry, for messages.
	fileOf(index uint64) string
	// deleteStep is how many entries a prefix deletion takes at once.
	deleteStep() uint64
}

// walBackend is a log in segments of a fixed size.
type walBackend struct {
	*wal.WAL
	dir   string
	files *walFiles
}

// openWAL opens a log that scanWAL found whole.
func openWAL(dir string, segmentBytes int, t walTail, logger *slog.Logger, failed func(error)) (*walBackend, error) {
	if err := t.clearTorn(); err != nil {
		return nil, err
	}
	b := &walBackend{dir: dir, files: newWALFiles()}
	b.files.late.Store(planted.Is(planted.EarlyAck))
	var err error
	b.WAL, err = wal.Open(dir,
		wal.WithSegmentSize(segmentBytes),
		wal.WithSegmentFiler(segment.NewFiler(dir, b.files)),
		wal.WithMetaStore(&walMeta{tail: t, files: b.files}),
		wal.WithLogger(walLogger(logger, failed)))
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (b *walBackend) deleteStep() uint64 { return 1 << 62 }

func (b *walBackend) fileOf(index uint64) string {
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return b.dir
	}
	// Names start with the first index in 20 digits, so they sort by it.
	names := []string{}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".wal") {
			names = append(names, f.Name())
		}
	}
	i, _ := slices.BinarySearch(names, fmt.Sprintf("%020d.", index))
	if i == 0 {
		return b.dir
	}
	return filepath.Join(b.dir, names[i-1])
}

// walMeta is the library's store of metadata. When it loads, it completes the
// rotation that a crash interrupted between sealing a segment and noting that:
// the library would go on with a sealed segment, and refuse every append with
// ErrSealed from then on.
type walMeta struct {
	metadb.BoltMetaDB
	tail  walTail
	files *walFiles
}

// CommitState makes durable what the metadata is about to say of segments.
func (m *walMeta) CommitState(state types.PersistentState) error {
	if err := m.files.flush(); err != nil {
		return err
	}
	return m.BoltMetaDB.CommitState(state)
}

func (m *walMeta) Load(dir string) (types.PersistentState, error) {
	state, err := m.BoltMetaDB.Load(dir)
	n := len(state.Segments)
	if err != nil || m.tail.index == 0 || n == 0 {
		return state, err
	}
	last := &state.Segments[n-1]
	if last.ID != m.tail.info.ID || !last.SealTime.IsZero() {
		return state, fmt.Errorf("segment %d is not the last one any more", m.tail.info.ID)
	}
	now := time.Now()
	last.SealTime, last.MaxIndex, last.IndexStart = now, m.tail.last, m.tail.index
	state.Segments = append(state.Segments, types.SegmentInfo{
		ID:         state.NextSegmentID,
		BaseIndex:  m.tail.last + 1,
		MinIndex:   m.tail.last + 1,
		Codec:      last.Codec,
		CreateTime: now,
		SizeLimit:  last.SizeLimit,
	})
	state.NextSegmentID++
	return state, m.CommitState(state)
}

// walLogger passes on what the library logs. A failed rotation is told nowhere
// else: the library logs it on a goroutine of its own, and goes on.
func walLogger(logger *slog.Logger, failed func(error)) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(&walSink{logger, failed})
	return l
}

type walSink struct {
	logger *slog.Logger
	failed func(error)
}

func (s *walSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	switch {
	case level < hclog.Warn:
	case msg == "rotate error":
		s.failed(fmt.Errorf("making the next segment: %w", errorOf(msg, args)))
	case msg == "error closing old segment file":
		s.failed(fmt.Errorf("closing a segment that was cut off: %w", errorOf(msg, args)))
	default:
		s.logger.Warn("raft-wal: "+msg, args...)
	}
}

// errorOf is the error among what the library logs.
func errorOf(msg string, args []any) error {
	for _, a := range args {
		if err, ok := a.(error); ok {
			return err
		}
	}
	return errors.New(msg)
}
