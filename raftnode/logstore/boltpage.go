package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// A reader of bbolt's file format, version 2, that believes nothing it reads.
// The library itself panics on a damaged page, on a goroutine of its own, or
// reads past a short file through its memory map, and so takes the process with
// it. All numbers are in the machine's byte order.
//
//	page             bytes   field
//	  every page     0-7     its own number
//	                 8-9     1 branch, 2 leaf, 4 meta, 16 free list
//	                 10-11   number of elements
//	                 12-15   number of pages that follow and belong to it
//	  meta (0 and 1) 16-19   magic           20-23  version
//	                 24-27   page size       28-31  flags
//	                 32-39   root page       40-47  sequence
//	                 48-55   free list page  56-63  number of pages in use
//	                 64-71   transaction     72-79  FNV-1a of bytes 16-71
//	  branch element 0-3     distance from here to its key
//	                 4-7     key length      8-15   child page
//	  leaf element   0-3     1 bucket, else 0
//	                 4-7     distance from here to its key, then value
//	                 8-11    key length      12-15  value length
//	  bucket value   0-7     root page, or 0: an inline leaf page follows
//	                 8-15    sequence
const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltBranch     = 1
	boltLeaf       = 2
	boltFreelist   = 16
	boltNoFreelist = ^uint64(0)
	boltHeader     = 16
	boltBucketHead = 16
	boltElem       = 16
	// boltMaxPage bounds the memory for one page with what belongs to it. A leaf
	// holds at least two elements, and an entry of the log is far below 64 MiB.
	boltMaxPage = 256 << 20
)

var order = binary.NativeEndian

type boltMeta struct {
	pageSize, root, freelist, pages, tx uint64
}

func parseBoltMeta(b []byte) (boltMeta, bool) {
	if len(b) < 80 || order.Uint32(b[16:]) != boltMagic || order.Uint32(b[20:]) != boltVersion {
		return boltMeta{}, false
	}
	h := fnv.New64a()
	h.Write(b[16:72])
	if h.Sum64() != order.Uint64(b[72:]) {
		return boltMeta{}, false
	}
	return boltMeta{
		pageSize: uint64(order.Uint32(b[24:])),
		root:     order.Uint64(b[32:]),
		freelist: order.Uint64(b[48:]),
		pages:    order.Uint64(b[56:]),
		tx:       order.Uint64(b[64:]),
	}, true
}

// readBoltMeta returns the valid meta page of the newer transaction, as the
// library would choose.
func readBoltMeta(r io.ReaderAt) (boltMeta, error) {
	var b [80]byte
	read := func(off int64) (boltMeta, bool) {
		if _, err := r.ReadAt(b[:], off); err != nil {
			return boltMeta{}, false
		}
		return parseBoltMeta(b[:])
	}
	best, ok := read(0)
	sizes := []uint64{best.pageSize}
	if !ok {
		sizes = sizes[:0]
		for size := uint64(1024); size <= 1024<<15; size *= 2 {
			sizes = append(sizes, size)
		}
	}
	for _, size := range sizes {
		if m, valid := read(int64(size)); valid && m.pageSize == size && (!ok || m.tx > best.tx) {
			best, ok = m, true
		}
	}
	if !ok {
		return boltMeta{}, errors.New("no meta page is valid")
	}
	if best.pageSize < 1024 || best.pageSize > 1024<<15 {
		return boltMeta{}, fmt.Errorf("page size %d", best.pageSize)
	}
	return best, nil
}

// boltPage is one page with the pages that belong to it.
type boltPage struct {
	kind  uint16
	count int
	b     []byte
}

func (p boltPage) branch(i int) (key []byte, child uint64, err error) {
	off := boltHeader + i*boltElem
	e, err := slice(p.b, off, boltElem)
	if err != nil {
		return nil, 0, err
	}
	key, err = slice(p.b, off+int(order.Uint32(e[0:])), int(order.Uint32(e[4:])))
	return key, order.Uint64(e[8:]), err
}

func (p boltPage) leaf(i int) (key, value []byte, bucket bool, err error) {
	off := boltHeader + i*boltElem
	e, err := slice(p.b, off, boltElem)
	if err != nil {
		return nil, nil, false, err
	}
	if order.Uint32(e[0:]) > 1 {
		return nil, nil, false, fmt.Errorf("element %d has flags %#x", i, order.Uint32(e[0:]))
	}
	at, size := off+int(order.Uint32(e[4:])), int(order.Uint32(e[8:]))
	if key, err = slice(p.b, at, size); err != nil {
		return nil, nil, false, err
	}
	value, err = slice(p.b, at+size, int(order.Uint32(e[12:])))
	return key, value, order.Uint32(e[0:]) == 1, err
}

func slice(b []byte, off, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > len(b) || n > len(b)-off {
		return nil, fmt.Errorf("bytes %d to %d of a page of %d", off, off+n, len(b))
	}
	return b[off : off+n : off+n], nil
}
