package peer

import (
	"encoding/binary"
	"io"
	"slices"
)

// Limits of one inbound message, apart from its bytes. A log entry has 13 values
// (the map, six names, six fields), so 1<<16 is room for 5,000 entries, and
// bounds what decoding may allocate for values that take one byte on the wire.
const (
	maxMessageValues = 1 << 16
	maxMessageDepth  = 16
	// growStep bounds the memory that a claimed length gets before its bytes are there.
	growStep = 1 << 20
)

// byteReader is a *bufio.Reader, or like one.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// messageReader copies one msgpack value, with all that it contains, without
// decoding it. The messages have no length in front of them, and the decoder
// takes the lengths inside at their word: it would allocate 4 GiB at once for a
// string that claims it. Given a slice it cannot.
type messageReader struct {
	r      byteReader
	buf    []byte
	limit  int
	values int
}

// readMessage appends one value to buf and returns it.
func readMessage(r byteReader, buf []byte, limit int) ([]byte, error) {
	m := &messageReader{r: r, buf: buf, limit: limit}
	err := m.value(0)
	return m.buf, err
}

// value copies the next value. The format is msgpack's: the first byte tells the
// type, and for small ones the length.
func (m *messageReader) value(depth int) error {
	if m.values++; m.values > maxMessageValues {
		return invalidRPC("message has more than %d values", maxMessageValues)
	}
	b, err := m.byte()
	if err != nil {
		return err
	}
	switch {
	case b <= 0x7f, b >= 0xe0, b == 0xc0, b == 0xc2, b == 0xc3: // small integers, nil, false, true
		return nil
	case b <= 0x8f: // map
		return m.children(2*uint64(b&0x0f), depth)
	case b <= 0x9f: // array
		return m.children(uint64(b&0x0f), depth)
	case b <= 0xbf: // string
		return m.bytes(uint64(b & 0x1f))
	}
	switch b {
	case 0xcc, 0xd0: // 8-bit integers
		return m.bytes(1)
	case 0xcd, 0xd1: // 16-bit integers
		return m.bytes(2)
	case 0xca, 0xce, 0xd2: // 32-bit float and integers
		return m.bytes(4)
	case 0xcb, 0xcf, 0xd3: // 64-bit float and integers
		return m.bytes(8)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // extension of 1, 2, 4, 8, 16 bytes behind its type
		return m.bytes(1 + 1<<(b-0xd4))
	case 0xc4, 0xd9: // binary, string
		return m.sized(1, 0)
	case 0xc5, 0xda:
		return m.sized(2, 0)
	case 0xc6, 0xdb:
		return m.sized(4, 0)
	case 0xc7: // extension: length, type, bytes
		return m.sized(1, 1)
	case 0xc8:
		return m.sized(2, 1)
	case 0xc9:
		return m.sized(4, 1)
	case 0xdc, 0xdd: // array
		n, err := m.length(2 << (b - 0xdc))
		if err != nil {
			return err
		}
		return m.children(n, depth)
	case 0xde, 0xdf: // map
		n, err := m.length(2 << (b - 0xde))
		if err != nil {
			return err
		}
		return m.children(2*n, depth)
	}
	return invalidRPC("message has the byte %#02x where a value should start", b)
}

func (m *messageReader) children(n uint64, depth int) error {
	if depth >= maxMessageDepth {
		return invalidRPC("message is nested more than %d deep", maxMessageDepth)
	}
	if n > maxMessageValues {
		return invalidRPC("message has a container of %d values; limit is %d", n, maxMessageValues)
	}
	for range n {
		if err := m.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

func (m *messageReader) sized(width int, extra uint64) error {
	n, err := m.length(width)
	if err != nil {
		return err
	}
	return m.bytes(n + extra)
}

func (m *messageReader) length(width int) (uint64, error) {
	if err := m.bytes(uint64(width)); err != nil {
		return 0, err
	}
	var b [8]byte
	copy(b[8-width:], m.buf[len(m.buf)-width:])
	return binary.BigEndian.Uint64(b[:]), nil
}

func (m *messageReader) byte() (byte, error) {
	if err := m.room(1); err != nil {
		return 0, err
	}
	b, err := m.r.ReadByte()
	if err != nil {
		return 0, unexpectedEOF(err)
	}
	m.buf = append(m.buf, b)
	return b, nil
}

func (m *messageReader) bytes(n uint64) error {
	if err := m.room(n); err != nil {
		return err
	}
	for n > 0 {
		step := int(min(n, growStep))
		start := len(m.buf)
		m.buf = slices.Grow(m.buf, step)[:start+step]
		if _, err := io.ReadFull(m.r, m.buf[start:]); err != nil {
			return unexpectedEOF(err)
		}
		n -= uint64(step)
	}
	return nil
}

func (m *messageReader) room(n uint64) error {
	if n > uint64(m.limit-len(m.buf)) {
		return invalidRPC("message has more than %d bytes", m.limit)
	}
	return nil
}

// unexpectedEOF tells the end of the stream within a message from that between two.
func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
