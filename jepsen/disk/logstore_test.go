//go:build linux

package disk

import (
	"bufio"
	"strconv"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"tidemark/raftnode/logstore"
)

// logs are the log stores, as databases of entries. They have no broken variant.
var logs = map[string]func(dir string, broken bool) (database, error){
	"log-wal": openLog(logstore.WAL), "log-boltdb": openLog(logstore.BoltDB),
}

type logDB struct{ store *logstore.Store }

func openLog(kind logstore.Kind) func(string, bool) (database, error) {
	return func(dir string, _ bool) (database, error) {
		store, err := logstore.Open(logstore.Options{Dir: dir, Kind: kind, Durable: func() uint64 { return 0 }})
		return logDB{store}, err
	}
}

func (l logDB) put(record int) error {
	return l.store.Log().StoreLog(&raft.Log{Index: uint64(record), Term: 1, Data: value(record)})
}

func (l logDB) all() (records []int, err error) {
	for index := uint64(1); index <= l.store.LastIndex(); index++ {
		var entry raft.Log
		if err := l.store.Log().GetLog(index, &entry); err != nil {
			return nil, err
		}
		if err := checkValue(int(index), entry.Data); err != nil {
			return nil, err
		}
		records = append(records, int(index))
	}
	return records, nil
}

func (l logDB) close() error { return l.store.Close() }

// An entry whose sync failed, and that the next process finds all the same, is there after
// a loss of power, and so is what was acknowledged behind it: the kernel does not write a
// page again that it failed to write.
func TestLogSurvivesAFailedSync(t *testing.T) {
	t.Parallel()
	for _, name := range sortedKeys(logs) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, more := range []int{0, 20} {
				d, dir := mounted(t, Options{})
				storeUntilSyncFails(t, d, name, dir, 30)
				last, err := stored(name, dir)
				must(t, err)
				if last < 30 {
					t.Fatalf("%d entries are there, 30 were stored", last)
				}
				if more > 0 {
					last = storeUntil(t, name, dir, more)
				}
				_, err = d.LoseUnsynced()
				must(t, err)
				if has, err := stored(name, dir); err != nil || has < last {
					t.Errorf("%d entries were there before the loss of power, and %d are: %v", last, has, err)
				}
			}
		})
	}
}

// storeUntilSyncFails has a child store some records, and then no sync of it succeeds, which
// ends it.
func storeUntilSyncFails(t *testing.T, d *Disk, name, dir string, records int) {
	t.Helper()
	cmd := childCommand(name, dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var fault *Injection
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if n, err := strconv.Atoi(lines.Text()); err == nil && n >= records && fault == nil {
			fault, err = d.Fail(Rule{Ops: OpsSync}, syscall.EIO)
			must(t, err)
		}
	}
	if err := cmd.Wait(); err == nil || fault == nil {
		t.Fatalf("the child ended by itself: %v", err)
	}
	fault.Heal()
}
