//go:build linux

package disk

import (
	"bytes"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"tidemark/raftnode/logstore"
)

// An entry whose sync failed, and that the next process finds all the same, is there after
// a loss of power, and so is what was acknowledged behind it: the kernel does not write a
// page again that it failed to write.
func TestLogSurvivesAFailedSync(t *testing.T) {
	for _, kind := range []logstore.Kind{logstore.WAL, logstore.BoltDB} {
		for _, more := range []uint64{0, 20} {
			t.Run(string(kind), func(t *testing.T) {
				d, dir := mounted(t, Options{})
				open := func() *logstore.Store {
					t.Helper()
					s, err := logstore.Open(logstore.Options{
						Dir: dir, Kind: kind, Durable: func() uint64 { return 0 },
						Fatal: func(error) { runtime.Goexit() }, // of whoever appends; the process would end
					})
					must(t, err)
					return s
				}
				entry := func(index uint64) *raft.Log {
					return &raft.Log{Index: index, Term: 1, Data: bytes.Repeat([]byte{byte(index)}, 3000)}
				}
				s := open()
				for index := uint64(1); index <= 30; index++ {
					must(t, s.Log().StoreLog(entry(index)))
				}
				fault, err := d.Fail(Rule{Ops: OpsSync}, syscall.EIO)
				must(t, err)
				stored := false
				var appender sync.WaitGroup
				appender.Go(func() {
					stored = s.Log().StoreLog(entry(31)) == nil
				})
				if appender.Wait(); stored {
					t.Fatal("an entry was stored although no sync succeeds")
				}
				_ = s.Close() // as well as it can
				fault.Heal()
				s = open()
				found, err := s.Log().LastIndex()
				must(t, err)
				for index := found + 1; index <= found+more; index++ {
					must(t, s.Log().StoreLog(entry(index)))
				}
				_, err = d.LoseUnsynced()
				must(t, err)
				_ = s.Close()
				s = open()
				defer s.Close()
				last, err := s.Log().LastIndex()
				if must(t, err); last != found+more {
					t.Errorf("the log ended at %d before the loss of power, and ends at %d", found+more, last)
				}
				for index := uint64(1); index <= last; index++ {
					var got raft.Log
					if err := s.Log().GetLog(index, &got); err != nil || !bytes.Equal(got.Data, entry(index).Data) {
						t.Errorf("entry %d: %v", index, err)
					}
				}
			})
		}
	}
}
