package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The bytes are in the package comment.
const (
	prefaceMagic   = "TMRP"
	prefaceVersion = 1
	prefaceHeader  = 8
	maxPrefaceBody = 1024
)

// The longest body fits, whatever the names.
const _ uint = maxPrefaceBody - (4 + 2*MaxNodeIDBytes + 2*MaxIncarnationBytes)

// errNotPreface is returned when the first bytes are not those of a preface of any version.
var errNotPreface = errors.New("the first bytes are not a Tidemark preface")

// versionError is returned when the other side speaks a newer preface.
type versionError uint8

func (v versionError) Error() string {
	return fmt.Sprintf("preface has version %d, this node knows %d: upgrade it", uint8(v), prefaceVersion)
}

// hello is what the dialer says.
type hello struct {
	kind                      Kind
	fromID, fromIncarnation   string
	toID, expectedIncarnation string
}

// answer is what the acceptor says.
type answer struct {
	reason      Reason
	id          string
	incarnation string
	detail      string
}

func (h hello) encode() []byte {
	return encodePreface(byte(h.kind), h.fromID, h.fromIncarnation, h.toID, h.expectedIncarnation)
}

func (a answer) encode() []byte {
	return encodePreface(byte(a.reason), a.id, a.incarnation, truncate(a.detail, 255))
}

// encodePreface wants fields of at most 255 bytes each.
func encodePreface(tag byte, fields ...string) []byte {
	b := append([]byte(prefaceMagic), prefaceVersion, tag, 0, 0)
	for _, f := range fields {
		b = append(b, byte(len(f)))
		b = append(b, f...)
	}
	binary.BigEndian.PutUint16(b[6:], uint16(len(b)-prefaceHeader))
	return b
}

func truncate(s string, limit int) string {
	if len(s) > limit {
		return s[:limit]
	}
	return s
}

// readPreface reads exactly one preface, so that r stands at the first byte behind
// it. The fields that it returns have at most 255 bytes each. Errors of r pass
// through as they are.
func readPreface(r io.Reader, fields int) (tag byte, values []string, err error) {
	header := make([]byte, prefaceHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return 0, nil, err
	}
	if string(header[:4]) != prefaceMagic || header[4] == 0 {
		return 0, nil, errNotPreface
	}
	size := int(binary.BigEndian.Uint16(header[6:]))
	if size > maxPrefaceBody {
		return 0, nil, fmt.Errorf("preface has %d bytes; limit is %d", size, maxPrefaceBody)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, unexpectedEOF(err)
	}
	// A newer version may have changed the body, so only its length was trusted.
	if header[4] > prefaceVersion {
		return header[5], nil, versionError(header[4])
	}
	for i := range fields {
		if len(body) == 0 || len(body) < 1+int(body[0]) {
			return 0, nil, fmt.Errorf("preface ends within field %d of %d", i+1, fields)
		}
		n := 1 + int(body[0])
		values = append(values, string(body[1:n]))
		body = body[n:]
	}
	return header[5], values, nil
}

func readHello(r io.Reader) (hello, error) {
	tag, f, err := readPreface(r, 4)
	if err != nil {
		return hello{}, err
	}
	h := hello{kind: Kind(tag), fromID: f[0], fromIncarnation: f[1], toID: f[2], expectedIncarnation: f[3]}
	err = errors.Join(
		validateName("dialer's id", h.fromID, MaxNodeIDBytes),
		validateName("dialer's incarnation", h.fromIncarnation, MaxIncarnationBytes),
		validateName("acceptor's id", h.toID, MaxNodeIDBytes))
	if err == nil && len(h.expectedIncarnation) > MaxIncarnationBytes {
		err = fmt.Errorf("expected incarnation has %d bytes; limit is %d", len(h.expectedIncarnation), MaxIncarnationBytes)
	}
	if err != nil {
		return hello{}, err
	}
	return h, nil
}

func readAnswer(r io.Reader) (answer, error) {
	tag, f, err := readPreface(r, 3)
	if err != nil {
		return answer{}, err
	}
	a := answer{reason: Reason(tag), id: f[0], incarnation: f[1], detail: f[2]}
	if a.reason == Accepted {
		err = errors.Join(
			validateName("acceptor's id", a.id, MaxNodeIDBytes),
			validateName("acceptor's incarnation", a.incarnation, MaxIncarnationBytes))
	}
	if err != nil {
		return answer{}, err
	}
	return a, nil
}
