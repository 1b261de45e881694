//go:build linux

package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

func key(record int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(record)) }

// value is long enough for several sectors, and another for each record.
func value(record int) []byte { return bytes.Repeat(key(record), 20+record%200) }

func checkValue(record int, got []byte) error {
	if !bytes.Equal(got, value(record)) {
		return fmt.Errorf("record %d is damaged", record)
	}
	return nil
}

type bolt struct{ db *bbolt.DB }

func openBolt(dir string, broken bool) (database, error) {
	path := filepath.Join(dir, "db")
	_, missing := os.Stat(path)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: broken, NoGrowSync: broken})
	if err != nil {
		return nil, err
	}
	if missing != nil && !broken {
		// bbolt leaves the name of its file to its user.
		if err := syncName(dir); err != nil {
			return nil, err
		}
	}
	return &bolt{db}, nil
}

func syncName(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (b *bolt) put(record int) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("records"))
		if err != nil {
			return err
		}
		return bucket.Put(key(record), value(record))
	})
}

func (b *bolt) all() (records []int, err error) {
	return records, b.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		bucket := tx.Bucket([]byte("records"))
		if bucket == nil {
			return nil
		}
		return bucket.ForEach(func(k, v []byte) error {
			record := int(binary.BigEndian.Uint64(k))
			records = append(records, record)
			return checkValue(record, v)
		})
	})
}

func (b *bolt) close() error { return b.db.Close() }

type pebbleDB struct {
	db    *pebble.DB
	write *pebble.WriteOptions
	dir   string
}

func openPebble(dir string, broken bool) (database, error) {
	// Small, for flushes, compactions and new log files. A flush syncs in any case.
	size := uint64(64 << 10)
	if broken {
		size = 16 << 20
	}
	db, err := pebble.Open(filepath.Join(dir, "pebble"), &pebble.Options{
		MemTableSize: size, L0CompactionThreshold: 2, Logger: quiet{},
	})
	p := &pebbleDB{db: db, write: pebble.Sync, dir: dir}
	if broken {
		p.write = pebble.NoSync
	}
	if err == nil {
		err = syncName(dir)
	}
	return p, err
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func (p *pebbleDB) put(record int) error {
	if record%100 == 0 {
		// A checkpoint is made of hard links.
		checkpoint := filepath.Join(p.dir, "checkpoint")
		if err := os.RemoveAll(checkpoint); err != nil {
			return err
		}
		if err := p.db.Checkpoint(checkpoint); err != nil {
			return err
		}
	}
	return p.db.Set(key(record), value(record), p.write)
}

func (p *pebbleDB) all() ([]int, error) {
	it, err := p.db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	var records []int
	for it.First(); it.Valid(); it.Next() {
		record := int(binary.BigEndian.Uint64(it.Key()))
		records = append(records, record)
		if err := checkValue(record, it.Value()); err != nil {
			return nil, err
		}
	}
	return records, it.Close()
}

func (p *pebbleDB) close() error { return p.db.Close() }

type walDB struct{ log *wal.WAL }

func openWAL(dir string, broken bool) (database, error) {
	var files types.VFS = walfs.New()
	if broken {
		files = noSyncFS{files}
	}
	// There is one segment: the library does not survive a crash between two, which
	// this test finds, and which package logstore mends.
	log, err := wal.Open(dir, wal.WithLogger(hclog.NewNullLogger()),
		wal.WithSegmentFiler(segment.NewFiler(dir, files)))
	return &walDB{log}, err
}

// noSyncFS never syncs the segments. The metadata of the log still is.
type noSyncFS struct{ types.VFS }

func (n noSyncFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := n.VFS.Create(dir, name, size)
	return noSyncFile{f}, err
}

func (n noSyncFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := n.VFS.OpenWriter(dir, name)
	return noSyncFile{f}, err
}

type noSyncFile struct{ types.WritableFile }

func (noSyncFile) Sync() error { return nil }

func (w *walDB) put(record int) error {
	return w.log.StoreLog(&raft.Log{Index: uint64(record), Data: value(record)})
}

func (w *walDB) all() ([]int, error) {
	first, err := w.log.FirstIndex()
	if err != nil || first == 0 {
		return nil, err
	}
	last, err := w.log.LastIndex()
	if err != nil {
		return nil, err
	}
	var records []int
	for index := first; index <= last; index++ {
		var entry raft.Log
		if err := w.log.GetLog(index, &entry); err != nil {
			return nil, fmt.Errorf("record %d: %w", index, err)
		}
		records = append(records, int(index))
		if err := checkValue(int(index), entry.Data); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func (w *walDB) close() error { return w.log.Close() }

// TestDatabasesKeepWhatTheySynced kills each of them again and again, and takes what
// it had not synced.
func TestDatabasesKeepWhatTheySynced(t *testing.T) {
	t.Parallel()
	for _, name := range sortedKeys(databases) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, dir := mounted(t, Options{})
			// Most kills then come between a write and its sync.
			_, err := d.Stall(Rule{Ops: OpsSync, Probability: 0.3}, time.Millisecond)
			must(t, err)
			last := 0
			var all Loss
			for seed := range uint64(8) {
				last = max(last, storeUntil(t, name, dir, 10+int(seed)*15))
				loss, err := d.PowerFailure(seed)
				must(t, err)
				all.Names, all.Sectors, all.SectorsKept = all.Names+loss.Names, all.Sectors+loss.Sectors, all.SectorsKept+loss.SectorsKept
				has, err := stored(name, dir)
				must(t, err)
				if has < last {
					t.Fatalf("seed %d: %d records are there, %d were stored", seed, has, last)
				}
				last = has
			}
			t.Logf("%d records, lost %+v", last, all)
		})
	}
}

// TestDatabasesThatDoNotSyncAreFoundOut proves that the disk finds what it is for.
func TestDatabasesThatDoNotSyncAreFoundOut(t *testing.T) {
	t.Parallel()
	for _, name := range sortedKeys(databases) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, dir := mounted(t, Options{})
			last := storeUntil(t, name, dir, 50, brokenVariable+"=1")
			_, err := d.LoseUnsynced()
			must(t, err)
			if has, err := stored(name, dir); err == nil && has >= last {
				t.Fatalf("%d records are there, %d were stored", has, last)
			}
		})
	}
}

// TestMappedPagesShowWhatWasWritten is of bbolt too: it writes with pwrite and reads
// what it wrote through a mapping that is older. Each of its transactions is checked
// as a whole by the process that made it.
func TestMappedPagesShowWhatWasWritten(t *testing.T) {
	_, dir := mounted(t, Options{})
	cmd := childCommand("mapped", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// mapped checks a shared mapping of a file while it is overwritten.
func mapped(dir string) error {
	const size = 64 << 10
	f, err := os.OpenFile(filepath.Join(dir, "mapped"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	view, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for round := range 300 {
		offset := int64(round * 211)
		record := bytes.Repeat([]byte{byte(round + 1)}, 100)
		if _, err := f.WriteAt(record, offset); err != nil {
			return err
		}
		if round%3 == 0 {
			if err := f.Sync(); err != nil {
				return err
			}
		}
		if got := view[offset : offset+100]; !bytes.Equal(got, record) {
			return fmt.Errorf("round %d: the mapping shows %x", round, got[:8])
		}
	}
	return f.Close()
}
