package pebblestore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tidemark"
)

// A pin holds the state as it is behind one place of the log, so that replicas that run can
// be compared: whoever compares names a place that none of them has come to yet, and each
// pins its state when the next entry behind that place is to be applied. There is one pin at a
// time, and it ends by itself when nobody asks for it.

// pinLife is how long a pin lives that nobody asks for. It keeps the space of what is
// deleted meanwhile.
const pinLife = time.Minute

// maxPartBytes bounds the keys and values that one part of a pinned state covers, but for
// its last record.
const maxPartBytes = 8 << 20

// pinner has the pin of a store.
type pinner struct {
	// due is the place of an armed pin that is to be taken, or 0. It is looked at for each entry.
	due atomic.Uint64

	mu   sync.Mutex
	id   string // empty if there is none
	at   uint64
	life *time.Timer
	// taken is closed when state or failed is set.
	taken  chan struct{}
	state  *frozen
	gen    *generation
	failed error
	// using counts the parts that are being read, and unused is told when it is 0.
	using  int
	unused *sync.Cond
}

// ArmPin has the state pinned as it is behind the log entry at. It returns tidemark.ErrPlacePassed
// if entries behind that were applied already, and tidemark.ErrOverloaded if another one
// has a pin. Arming a pin again under the same id gives the first one up.
func (s *Store) ArmPin(id string, at uint64) error {
	p := &s.pinner
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id != "" && p.id != id {
		return fmt.Errorf("%w: another comparison is running", tidemark.ErrOverloaded)
	}
	p.end(errPinEnded)
	if applied := s.Applied().Index; applied > at {
		return pastPin(applied, at)
	}
	p.id, p.at, p.taken, p.failed = id, at, make(chan struct{}), nil
	p.life = time.AfterFunc(pinLife, func() { s.Unpin(id) })
	p.due.Store(at)
	return nil
}

func pastPin(applied, at uint64) error {
	return fmt.Errorf("%w: entry %d is applied, which is behind %d", tidemark.ErrPlacePassed, applied, at)
}

// PinDue reports whether TakePin is to be called before the entry is applied.
func (s *Store) PinDue(entry uint64) bool {
	at := s.pinner.due.Load()
	return at != 0 && entry > at
}

// TakePin pins the state as it is. No batch may be open.
func (s *Store) TakePin() {
	p := &s.pinner
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due.Swap(0) == 0 || p.id == "" {
		return
	}
	defer close(p.taken)
	if applied := s.Applied().Index; applied > p.at {
		p.failed = pastPin(applied, p.at)
		return
	}
	if p.gen, p.failed = s.acquire(); p.failed == nil {
		p.state = p.gen.freeze()
	}
}

// Unpin ends the pin with the id, if there is one.
func (s *Store) Unpin(id string) {
	p := &s.pinner
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id == id {
		p.end(errPinEnded)
	}
}

// endPin ends any pin, because the generation that it holds is to be closed.
func (s *Store) endPin() {
	p := &s.pinner
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(errPinEnded)
}

var errPinEnded = fmt.Errorf("%w: the pinned state was given up", tidemark.ErrPlacePassed)

// end gives up what is pinned. Whoever waits for it gets the error. The caller holds mu.
func (p *pinner) end(why error) {
	if p.id == "" {
		return
	}
	p.life.Stop()
	for taken := p.taken; p.using > 0; {
		p.unused.Wait()
		if p.id == "" || p.taken != taken {
			return // somebody else ended it, and another one may be there by now
		}
	}
	if p.due.Swap(0) != 0 {
		p.failed = why
		close(p.taken)
	}
	if p.state != nil {
		_ = p.state.close() // of what is only read
		p.gen.release()
	}
	p.id, p.state, p.gen = "", nil, nil
}

// PinnedPart reads the records behind a key, in their order, up to max of them, from the
// pinned state, and waits for that to be pinned. The records that differ between replicas
// on purpose (the format, and the applied record with where a snapshot was installed) are
// not among them.
func (s *Store) PinnedPart(ctx context.Context, id string, after []byte, max int) (tidemark.StatePart, error) {
	state, done, err := s.usePin(ctx, id)
	if err != nil {
		return tidemark.StatePart{}, err
	}
	defer done()
	return readPart(state, after, max)
}

// usePin keeps the pin for whoever reads from it, until done is called.
func (s *Store) usePin(ctx context.Context, id string) (_ *frozen, done func(), err error) {
	p := &s.pinner
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id != id || id == "" {
		return nil, nil, errPinEnded
	}
	taken := p.taken
	p.mu.Unlock()
	select {
	case <-taken:
	case <-ctx.Done():
		p.mu.Lock()
		return nil, nil, ctx.Err()
	}
	p.mu.Lock()
	if p.failed != nil {
		return nil, nil, p.failed
	}
	if p.id != id || p.state == nil {
		return nil, nil, errPinEnded
	}
	p.life.Reset(pinLife)
	if p.unused == nil {
		p.unused = sync.NewCond(&p.mu)
	}
	p.using++
	return p.state, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.using--; p.using == 0 {
			p.unused.Broadcast()
		}
	}, nil
}

func readPart(state *frozen, after []byte, max int) (part tidemark.StatePart, err error) {
	lower := []byte{tableNextNumber}
	if len(after) > 0 {
		lower = append(append([]byte{}, after...), 0)
	}
	iter, err := state.iterate()
	if err != nil {
		return part, err
	}
	hash := sha256.New()
	var sizes [8]byte
	for ok := iter.seekGE(lower); ok; ok = iter.next() {
		if part.Records == uint64(max) || part.Bytes >= maxPartBytes {
			part.More = true
			break
		}
		key := iter.key()
		value, err := iter.value()
		if err != nil {
			return part, wrapPebble(errors.Join(err, iter.close()))
		}
		binary.BigEndian.PutUint32(sizes[:], uint32(len(key)))
		binary.BigEndian.PutUint32(sizes[4:], uint32(len(value)))
		hash.Write(sizes[:])
		hash.Write(key)
		hash.Write(value)
		part.Records++
		part.Bytes += uint64(len(key) + len(value))
		part.Last = append(part.Last[:0], key...)
	}
	if err := errors.Join(iter.err(), iter.close()); err != nil {
		return part, wrapPebble(err)
	}
	hash.Sum(part.Digest[:0])
	if part.Records > 0 {
		part.LastIs, err = describeIn(state, part.Last)
	}
	return part, err
}

// describeIn is describeKey with the timeline's id in place of its number.
func describeIn(state *frozen, key []byte) (string, error) {
	text := describeKey(key)
	if !isNumbered(key[0]) {
		return text, nil
	}
	number, _, ok := splitNumber(key)
	if !ok {
		return text, nil
	}
	id, err := state.get(appendNumberKey(nil, number))
	if err != nil || id == nil {
		return text, err
	}
	return fmt.Sprintf("%s, which is %q", text, id), nil
}
