package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"tidemark/raftnode"
	"tidemark/raftnode/logstore"
)

// logDisk is where a node's Raft log, term and vote lie. It behaves as package
// logstore does on a disk: a write has happened when its call returns, one that is
// under way when the power fails has happened in part or not at all, a vote is one
// write, and a call that takes too long ends the process.
type logDisk struct {
	faults *diskFaults
	// made says that a store was opened here before.
	made bool

	mu  sync.Mutex
	rng *rand.Rand
	// entries are those that a reader sees, from first on. Those after synced
	// are lost when the power fails; only an early acknowledgement leaves any.
	first   uint64
	entries []raft.Log
	synced  uint64
	// writing is what a call of StoreLogs is writing now.
	writing []raft.Log
	// unsynced is the first entry that a leader wrote while its followers write theirs, and syncing is
	// closed when it and those behind it are synced; 0 if there is none.
	unsynced uint64
	syncing  chan struct{}
	stable   map[string][]byte
	// voteTerm waits for the candidate of the same vote.
	voteTerm []byte
}

// diskFaults is what is wrong with a disk. It survives the processes.
type diskFaults struct {
	// earlyAck plants a bug: appends are acknowledged before they are synced.
	earlyAck bool
	// twoWriteVotes plants a bug: term and candidate of a vote are two writes.
	twoWriteVotes bool

	mu sync.Mutex
	// fsync is how long a sync takes at most.
	fsync time.Duration
	// hangs is closed when a disk that hangs goes on.
	hangs chan struct{}
}

// errNotFound has the text by which raft knows that a key is not there.
var errNotFound = errors.New("not found")

// errHangs is why a process ends whose disk does not answer.
var errHangs = errors.New("the disk hangs")

const (
	usualFsync = 4 * time.Millisecond
	// lazySync is how much later an early acknowledgement is made true.
	lazySync = 300 * time.Millisecond
)

func (f *diskFaults) setFsync(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fsync = d
}

// hang makes every write wait until the function that it returns is called.
func (f *diskFaults) hang() (goOn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hangs := make(chan struct{})
	f.hangs = hangs
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.hangs = nil
		close(hangs)
	})
}

// sync takes the time of an fsync.
func (f *diskFaults) sync() {
	f.mu.Lock()
	took, hangs := f.fsync, f.hangs
	f.mu.Unlock()
	time.Sleep(rand.N(took) + took/8)
	if hangs != nil {
		<-hangs
	}
}

func newLogDisk(rng *rand.Rand, faults *diskFaults) *logDisk {
	return &logDisk{rng: rng, faults: faults, stable: map[string][]byte{}}
}

// crash returns what a crash leaves on the disk. After a loss of power that is what
// was synced and some of what was being written.
func (d *logDisk) crash(power bool) *logDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := newLogDisk(rand.New(rand.NewPCG(d.rng.Uint64(), 3)), d.faults)
	left.made, left.first, left.stable = d.made, d.first, maps.Clone(d.stable)
	entries := d.entries
	if power && d.last() > d.synced {
		keep := d.rng.Uint64N(d.last() - d.synced)
		entries = entries[:max(d.synced+keep+1, d.first)-d.first]
	}
	left.entries = slices.Clone(entries)
	if len(left.entries) == len(d.entries) && len(d.writing) > 0 && (len(entries) == 0 || d.writing[0].Index == d.last()+1) {
		torn := d.writing[:d.rng.IntN(len(d.writing)+1)]
		if len(left.entries) == 0 && len(torn) > 0 {
			left.first = torn[0].Index
		}
		left.entries = append(left.entries, torn...)
	}
	if len(left.entries) == 0 {
		left.first = 0
	}
	left.synced = left.last()
	return left
}

// last is the index of the last entry, or 0. The caller holds mu.
func (d *logDisk) last() uint64 {
	if len(d.entries) == 0 {
		return 0
	}
	return d.first + uint64(len(d.entries)) - 1
}

func (d *logDisk) get(index uint64) (raft.Log, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) == 0 || index < d.first || index > d.last() {
		return raft.Log{}, false
	}
	return d.entries[index-d.first], true
}

// openLogs is a raftnode.Config.OpenLogs.
func (d *logDisk) openLogs(o logstore.Options) (raftnode.Logs, error) {
	if o.MustExist && !d.made {
		return nil, fmt.Errorf("this node had a log, and there is none")
	}
	d.made = true
	return &openLogs{d, o}, nil
}

// openLogs is a logDisk that a process has open.
type openLogs struct {
	disk *logDisk
	o    logstore.Options
}

var _ raftnode.Logs = (*openLogs)(nil)

func (l *openLogs) Log() raft.LogStore        { return raftLog{l} }
func (l *openLogs) Stable() raft.StableStore  { return raftStable{l} }
func (l *openLogs) DiskBytes() (int64, error) { return 0, nil }
func (l *openLogs) Close() error              { return l.AwaitSynced(math.MaxUint64) }

func (l *openLogs) FirstIndex() uint64 {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if len(l.disk.entries) == 0 {
		return 0
	}
	return l.disk.first
}

func (l *openLogs) LastIndex() uint64 {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	return l.disk.last()
}

func (l *openLogs) Term(index uint64) (uint64, bool, error) {
	entry, ok := l.disk.get(index)
	return entry.Term, ok, nil
}

func (l *openLogs) SnapshotInstalled(index, term uint64) (conflict bool, err error) {
	if durable := l.o.Durable(); durable < index {
		return false, fmt.Errorf("the state machine is durable up to %d, not up to the snapshot's %d", durable, index)
	}
	first, last := l.FirstIndex(), l.LastIndex()
	switch {
	case first == 0 || first == index+1:
		return false, nil
	case first > index:
		return false, logstore.ErrSnapshotTooOld
	case last >= index:
		if entry, _ := l.disk.get(index); entry.Term == term {
			return false, nil
		}
		conflict = true
	}
	return conflict, l.Reset()
}

func (l *openLogs) AwaitSynced(index uint64) error {
	for {
		l.disk.mu.Lock()
		from, syncing := l.disk.unsynced, l.disk.syncing
		l.disk.mu.Unlock()
		if from == 0 || index < from {
			return nil
		}
		<-syncing
	}
}

// awaitSync waits until what StoreUnsynced wrote is synced: nothing is written behind it before.
func (l *openLogs) awaitSync() { _ = l.AwaitSynced(math.MaxUint64) }

func (l *openLogs) Synced(index uint64) uint64 {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if l.disk.unsynced != 0 {
		return min(index, l.disk.unsynced-1)
	}
	return index
}

func (l *openLogs) StoreUnsynced(logs []*raft.Log) error {
	d := l.disk
	if d.faults.earlyAck || len(logs) == 0 {
		return l.Log().StoreLogs(logs)
	}
	entries := copied(logs)
	last, syncing := entries[len(entries)-1].Index, make(chan struct{})
	l.awaitSync()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.follows(entries); err != nil {
		l.o.Fatal(err)
		return err
	}
	d.add(entries)
	d.unsynced, d.syncing = entries[0].Index, syncing
	go func() {
		l.write("append")
		d.markSynced(last)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.unsynced = 0
		close(syncing)
	}()
	return nil
}

func copied(logs []*raft.Log) []raft.Log {
	entries := make([]raft.Log, len(logs))
	for i, entry := range logs {
		entries[i] = *entry
	}
	return entries
}

// follows is nil if the entries can be appended. The caller holds mu.
func (d *logDisk) follows(entries []raft.Log) error {
	if next := d.last() + 1; next > 1 && entries[0].Index != next {
		return fmt.Errorf("entry %d cannot follow entry %d", entries[0].Index, next-1)
	}
	return nil
}

func (l *openLogs) Reset() error {
	l.awaitSync()
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	l.disk.first, l.disk.entries, l.disk.synced = 0, nil, 0
	return nil
}

// write does what takes the time of an fsync. A call that hangs ends the process.
func (l *openLogs) write(what string) {
	watch := time.AfterFunc(logstore.DefaultSlowCall, func() {
		l.o.Fatal(fmt.Errorf("%s: %w", what, errHangs))
	})
	l.disk.faults.sync()
	watch.Stop()
}

// raftLog is the raft.LogStore.
type raftLog struct{ *openLogs }

func (l raftLog) FirstIndex() (uint64, error) { return l.openLogs.FirstIndex(), nil }
func (l raftLog) LastIndex() (uint64, error)  { return l.openLogs.LastIndex(), nil }

func (l raftLog) GetLog(index uint64, out *raft.Log) error {
	entry, ok := l.disk.get(index)
	if !ok {
		return raft.ErrLogNotFound
	}
	*out = entry
	return nil
}

func (l raftLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func (l raftLog) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	d := l.disk
	entries := copied(logs)
	last := entries[len(entries)-1].Index
	l.awaitSync()
	d.mu.Lock()
	if err := d.follows(entries); err != nil {
		d.mu.Unlock()
		l.o.Fatal(err)
		return err
	}
	if d.faults.earlyAck {
		d.add(entries)
		d.mu.Unlock()
		time.AfterFunc(lazySync, func() { d.markSynced(last) })
		return nil
	}
	d.writing = entries
	d.mu.Unlock()
	l.write("append")
	d.mu.Lock()
	d.add(entries)
	d.writing = nil
	d.mu.Unlock()
	d.markSynced(last)
	return nil
}

// add appends. The caller holds mu.
func (d *logDisk) add(entries []raft.Log) {
	if len(d.entries) == 0 {
		d.first = entries[0].Index
	}
	d.entries = append(d.entries, entries...)
}

func (d *logDisk) markSynced(index uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if index <= d.last() {
		d.synced = max(d.synced, index)
	}
}

// DeleteRange has the rules of package logstore: the front goes no further than the
// state machine is durable, and what is applied cannot conflict.
func (l raftLog) DeleteRange(from, to uint64) error {
	durable := l.o.Durable()
	d := l.disk
	if to >= l.openLogs.LastIndex() { // the end of the log
		l.awaitSync()
	}
	d.mu.Lock()
	last := d.last()
	switch {
	case last == 0 || from > to || to < d.first || from > last:
	case from <= d.first && to >= last && d.first > durable:
		d.first, d.entries, d.synced = 0, nil, 0
	case from <= d.first:
		if to = min(to, durable, last-1); to >= d.first {
			d.entries = slices.Clone(d.entries[to+1-d.first:])
			d.first = to + 1
		}
	case to < last || from <= durable:
		d.mu.Unlock()
		err := fmt.Errorf("delete entries %d to %d of %d to %d, durable up to %d", from, to, d.first, last, durable)
		l.o.Fatal(err)
		return err
	default:
		d.entries = slices.Clone(d.entries[:from-d.first])
		d.synced = min(d.synced, from-1)
	}
	d.mu.Unlock()
	l.write("delete")
	return nil
}

// raftStable is the raft.StableStore.
type raftStable struct{ *openLogs }

// The keys of a vote, as raft names them.
const (
	voteTermKey      = "LastVoteTerm"
	voteCandidateKey = "LastVoteCand"
)

func (l raftStable) Set(key, value []byte) error {
	l.write("write " + string(key))
	d := l.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if string(key) == voteCandidateKey && d.voteTerm != nil {
		d.stable[voteTermKey] = d.voteTerm
		d.voteTerm = nil
	}
	d.stable[string(key)] = slices.Clone(value)
	return nil
}

func (l raftStable) SetUint64(key []byte, value uint64) error {
	b := binary.BigEndian.AppendUint64(nil, value)
	if string(key) == voteTermKey && !l.disk.faults.twoWriteVotes {
		l.disk.mu.Lock()
		defer l.disk.mu.Unlock()
		l.disk.voteTerm = b
		return nil
	}
	return l.Set(key, b)
}

func (l raftStable) Get(key []byte) ([]byte, error) {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	value, ok := l.disk.stable[string(key)]
	if !ok {
		return nil, errNotFound
	}
	return slices.Clone(value), nil
}

func (l raftStable) GetUint64(key []byte) (uint64, error) {
	b, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}
