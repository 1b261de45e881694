package logstore

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// failStop runs the calls of the stores. hashicorp/raft goes on after an error of
// a store, with bytes that may be on the disk and an idea of its last index that
// may be wrong, and waits for ever for a call that hangs, as the leader. So the
// first error, panic or hanging call ends the process.
type failStop struct {
	slow  time.Duration
	fatal func(error)
	err   atomic.Pointer[error]

	// calls is held for reading by each call, and for writing to close.
	calls  sync.RWMutex
	closed bool
}

var errClosed = errors.New("logstore: the store is closed")

// fail tells of the first error, and returns it.
func (f *failStop) fail(err error) error {
	err = translate(err)
	if f.err.CompareAndSwap(nil, &err) {
		f.fatal(err)
	}
	return *f.err.Load()
}

// close waits for the calls that are under way and refuses all that follow.
func (f *failStop) close() {
	f.calls.Lock()
	f.closed = true
	f.calls.Unlock()
}

func (f *failStop) failed() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// run calls fn, which does what on a file. Nothing runs after a failure, and a
// call during which one came is not reported as a success. raft.ErrLogNotFound
// is an answer, not a failure.
func (f *failStop) run(what, file string, fn func() error) error {
	f.calls.RLock()
	defer f.calls.RUnlock()
	if f.closed {
		return errClosed
	}
	if err := f.failed(); err != nil {
		return err
	}
	watch := time.AfterFunc(f.slow, func() {
		f.fail(fmt.Errorf("raft log: %s: %s: still not done after %v; the disk hangs", what, file, f.slow))
	})
	err := guarded(fn)
	watch.Stop()
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		return f.fail(fmt.Errorf("raft log: %s: %s: %w", what, file, err))
	}
	if failed := f.failed(); failed != nil {
		return failed
	}
	return err
}

// guarded makes an error of a panic, and of reading a memory map that the disk
// cannot fill.
func guarded(fn func() error) (err error) {
	done := false
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if done {
			return
		}
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	err = fn()
	done = true
	return err
}
