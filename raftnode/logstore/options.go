package logstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Defaults of Options, each with its reason.
const (
	// DefaultSlowCall is how long a call of a store may take. A disk that needs
	// longer is as good as dead, and a leader on it would stay leader for ever.
	DefaultSlowCall = 10 * time.Second
	// DefaultSegmentBytes is the size of a segment of the WAL. Deleting a prefix
	// frees whole segments, and opening walks through the last one, which speak
	// for small segments. A rotation costs some milliseconds and makes the next
	// append wait, which speaks for large ones: at 20 MB/s one comes every three
	// seconds.
	DefaultSegmentBytes = 64 << 20
	// DefaultCacheEntries is how many of the newest entries are kept in memory: a
	// follower reads each entry back when it is committed, a leader when it
	// sends it.
	DefaultCacheEntries = 512
	// DefaultCacheBytes bounds the same by the size of the entries, which may
	// have 512 KiB each.
	DefaultCacheBytes = 32 << 20
	// DefaultMarkInterval is how long the mark file may lag behind the log on the
	// disk. It bounds what a loss of power can hide; see DESIGN.md.
	DefaultMarkInterval = 100 * time.Millisecond
)

// Options says where and how a node keeps its log. Kind, Dir and Durable are
// required; zero means the default for the rest.
type Options struct {
	Kind Kind
	// Dir holds all files of the store; it is made when missing.
	Dir string
	// MustExist refuses to make a new store. Set it when the node is known to
	// have had one, for example because its state machine has applied entries:
	// a node that forgot its log and its votes must not take part again.
	MustExist bool
	Logger    *slog.Logger
	// Durable returns the index up to which the state machine survives a crash.
	// No entry after it is ever deleted from the front of the log.
	Durable func() uint64
	// Fatal is called once when the store can no longer be trusted. It must not
	// return; the default logs the error and exits with status 1. It may be
	// called from any goroutine, also while a call of the store is still stuck.
	Fatal func(error)
	// SlowCall is the longest that one call of a store may take.
	SlowCall time.Duration
	// SegmentBytes is the size of a segment of the WAL, 4 KiB to 1 GiB.
	SegmentBytes int
	// CacheEntries and CacheBytes bound the newest entries kept in memory.
	CacheEntries int
	CacheBytes   int
	// MarkInterval is how long the mark file may lag behind the log on the disk.
	MarkInterval time.Duration
	// OnAppend, if set, is told of each append that succeeded: how many entries
	// and bytes of data, and how long it took. It is called by the appender.
	OnAppend func(entries, bytes int, took time.Duration)
	// OnStableWrite, if set, is told how long each write of term or vote took.
	OnStableWrite func(took time.Duration)

	// sync makes a file or directory durable. Tests watch it.
	sync func(path string) error
}

func (o Options) withDefaults() (Options, error) {
	if _, err := ParseKind(string(o.Kind)); err != nil {
		return o, err
	}
	if o.Dir == "" {
		return o, errors.New("logstore: Options.Dir is empty")
	}
	if o.Durable == nil {
		return o, errors.New("logstore: Options.Durable is nil")
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SegmentBytes < 4<<10 || o.SegmentBytes > 1<<30 {
		return o, fmt.Errorf("logstore: Options.SegmentBytes is %d, must be 4 KiB to 1 GiB", o.SegmentBytes)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Fatal == nil {
		logger := o.Logger
		o.Fatal = func(err error) {
			logger.Error("the raft log can no longer be trusted", "error", err)
			os.Exit(1)
		}
	}
	if o.sync == nil {
		o.sync = syncFile
	}
	setDefault(&o.SlowCall, DefaultSlowCall)
	setDefault(&o.CacheEntries, DefaultCacheEntries)
	setDefault(&o.CacheBytes, DefaultCacheBytes)
	setDefault(&o.MarkInterval, DefaultMarkInterval)
	return o, nil
}

// logPath is the file or directory of the log.
func (o Options) logPath() string { return filepath.Join(o.Dir, logName(o.Kind)) }

func logName(k Kind) string { return "log." + string(k) }

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
