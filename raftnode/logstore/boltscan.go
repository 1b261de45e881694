package logstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// boltScan walks all of a bbolt file and calls visit for each key of its buckets,
// in order; the slices are valid during the call. Memory is one bit a page and
// the pages on the way down. An error of visit ends the walk and is returned as
// it is; damage is a tidemark.ErrCorrupt that names the file.
//
// It checks that the file is as long as its meta page says, that each page in
// use is referenced once and knows its own number, that keys ascend within and
// across pages and agree with the branches above, that elements lie within
// their page, and that the free list names the rest. It does not know what the
// values mean.
func boltScan(path string, visit func(bucket string, key, value []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return boltScanReader(f, info.Size(), path, visit)
}

func boltScanReader(r io.ReaderAt, size int64, path string, visit func(bucket string, key, value []byte) error) error {
	w := boltWalk{r: r, size: size, visit: visit}
	err := w.run()
	var stop visitError
	switch {
	case errors.As(err, &stop):
		return stop.error
	case err != nil:
		return corrupt(path, "%v", err)
	}
	return nil
}

// visitError carries an error of the caller's through the walk.
type visitError struct{ error }

type boltWalk struct {
	r     io.ReaderAt
	size  int64
	meta  boltMeta
	seen  []uint64 // a bit for each page that is referenced
	visit func(bucket string, key, value []byte) error
}

func (w *boltWalk) run() error {
	meta, err := readBoltMeta(w.r)
	if err != nil {
		return err
	}
	w.meta = meta
	if have := uint64(w.size) / w.meta.pageSize; have < w.meta.pages {
		return fmt.Errorf("the file has %d of %d pages", have, w.meta.pages)
	}
	w.seen = make([]uint64, w.meta.pages/64+1)
	w.seen[0] = 3
	if err := w.freelist(); err != nil {
		return fmt.Errorf("free list: %w", err)
	}
	if err := w.tree("", w.meta.root); err != nil {
		return err
	}
	if w.meta.freelist == boltNoFreelist {
		return nil
	}
	for id := range w.meta.pages {
		if w.seen[id/64]&(1<<(id%64)) == 0 {
			return fmt.Errorf("page %d is neither in use nor free", id)
		}
	}
	return nil
}

// claim notes that pages are referenced, for the first time.
func (w *boltWalk) claim(id, n uint64) error {
	if id >= w.meta.pages || n > w.meta.pages-id {
		return fmt.Errorf("page %d and %d more are referenced, but there are %d", id, n-1, w.meta.pages)
	}
	for ; n > 0; id, n = id+1, n-1 {
		if w.seen[id/64]&(1<<(id%64)) != 0 {
			return fmt.Errorf("page %d is referenced twice", id)
		}
		w.seen[id/64] |= 1 << (id % 64)
	}
	return nil
}

// page reads a page with the pages that belong to it.
func (w *boltWalk) page(id uint64) (boltPage, error) {
	if id >= w.meta.pages {
		return boltPage{}, fmt.Errorf("page %d is referenced, but there are %d", id, w.meta.pages)
	}
	b := make([]byte, w.meta.pageSize)
	at := int64(id * w.meta.pageSize)
	if _, err := w.r.ReadAt(b, at); err != nil {
		return boltPage{}, err
	}
	if got := order.Uint64(b); got != id {
		return boltPage{}, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	more := uint64(order.Uint32(b[12:]))
	if err := w.claim(id, 1+more); err != nil {
		return boltPage{}, err
	}
	if more > 0 {
		if (1+more)*w.meta.pageSize > boltMaxPage {
			return boltPage{}, fmt.Errorf("page %d has %d more", id, more)
		}
		b = make([]byte, (1+more)*w.meta.pageSize)
		if _, err := w.r.ReadAt(b, at); err != nil {
			return boltPage{}, err
		}
	}
	return boltPage{kind: order.Uint16(b[8:]), count: int(order.Uint16(b[10:])), b: b}, nil
}

func (w *boltWalk) freelist() error {
	if w.meta.freelist == boltNoFreelist {
		return nil
	}
	p, err := w.page(w.meta.freelist)
	if err != nil {
		return err
	}
	if p.kind != boltFreelist {
		return fmt.Errorf("page %d is of kind %d", w.meta.freelist, p.kind)
	}
	ids, n := p.b[boltHeader:], uint64(p.count)
	if n == 0xFFFF { // the count did not fit: it is the first number
		n, ids = order.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return fmt.Errorf("%d pages on a page of %d bytes", n, len(p.b))
	}
	for i := range n {
		if err := w.claim(order.Uint64(ids[8*i:]), 1); err != nil {
			return err
		}
	}
	return nil
}

// tree walks a bucket from its root page.
func (w *boltWalk) tree(bucket string, root uint64) error {
	var last []byte
	return w.subtree(bucket, root, nil, nil, &last, 0)
}

// subtree walks a page. Its keys must lie in [low, high) and after *last; nil is
// no bound.
func (w *boltWalk) subtree(bucket string, id uint64, low, high []byte, last *[]byte, depth int) error {
	if depth > 64 {
		return fmt.Errorf("page %d lies deeper than 64 levels", id)
	}
	p, err := w.page(id)
	if err == nil {
		switch p.kind {
		case boltBranch:
			err = w.branches(bucket, p, low, high, last, depth)
		case boltLeaf:
			err = w.leaves(bucket, p, low, high, last)
		default:
			err = fmt.Errorf("is of kind %d", p.kind)
		}
	}
	if err != nil && !errors.As(err, new(visitError)) {
		err = fmt.Errorf("page %d: %w", id, err)
	}
	return err
}

func (w *boltWalk) branches(bucket string, p boltPage, low, high []byte, last *[]byte, depth int) error {
	if p.count == 0 {
		return errors.New("branch without children")
	}
	key, child, err := p.branch(0)
	for i := range p.count {
		if err != nil {
			return err
		}
		if !within(key, low, high) {
			return fmt.Errorf("branch %d: key %x is out of order", i, key)
		}
		next, nextChild, end := []byte(nil), uint64(0), high
		if i+1 < p.count {
			if next, nextChild, err = p.branch(i + 1); err != nil {
				return err
			}
			if bytes.Compare(key, next) >= 0 {
				return fmt.Errorf("branch %d: key %x is out of order", i+1, next)
			}
			end = next
		}
		if err := w.subtree(bucket, child, key, end, last, depth+1); err != nil {
			return err
		}
		key, child = next, nextChild
	}
	return nil
}

func (w *boltWalk) leaves(bucket string, p boltPage, low, high []byte, last *[]byte) error {
	for i := range p.count {
		key, value, nested, err := p.leaf(i)
		if err != nil {
			return err
		}
		if !within(key, low, high) || *last != nil && bytes.Compare(*last, key) >= 0 {
			return fmt.Errorf("element %d: key %x is out of order", i, key)
		}
		*last = append((*last)[:0], key...)
		if !nested {
			if err := w.visit(bucket, key, value); err != nil {
				return visitError{err}
			}
			continue
		}
		if bucket != "" {
			return fmt.Errorf("bucket %x within bucket %q", key, bucket)
		}
		if err := w.bucket(string(key), value); err != nil {
			return err
		}
	}
	return nil
}

func (w *boltWalk) bucket(name string, value []byte) error {
	if len(value) < boltBucketHead {
		return fmt.Errorf("bucket %q of %d bytes", name, len(value))
	}
	if root := order.Uint64(value); root != 0 {
		return w.tree(name, root)
	}
	inline := value[boltBucketHead:]
	if len(inline) < boltHeader || order.Uint16(inline[8:]) != boltLeaf || order.Uint32(inline[12:]) != 0 {
		return fmt.Errorf("bucket %q: inline page is damaged", name)
	}
	p := boltPage{kind: boltLeaf, count: int(order.Uint16(inline[10:])), b: inline}
	var last []byte
	return w.leaves(name, p, nil, nil, &last)
}

func within(key, low, high []byte) bool {
	return (low == nil || bytes.Compare(low, key) <= 0) && (high == nil || bytes.Compare(key, high) < 0)
}
