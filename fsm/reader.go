package fsm

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"tidemark"
)

// reader walks the fields of one protobuf message, and is stricter than protobuf:
// fields stand in rising order of their numbers, each once unless repeated says
// otherwise. So no two readings of an entry can differ, whatever a protobuf
// library does with a field that stands twice.
type reader struct {
	message string // for errors
	rest    []byte
	least   protowire.Number // the least number that the next field may have
}

// field is one field as it stands on the wire.
type field struct {
	number protowire.Number
	wire   protowire.Type
	value  uint64 // of a varint or fixed64
	bytes  []byte // of a length-delimited field; shares memory with the message
}

func (f *field) is(number protowire.Number, wire protowire.Type) bool {
	return f.number == number && f.wire == wire
}

func (f *field) seq() *tidemark.SeqID {
	seq := tidemark.SeqID(f.value)
	return &seq
}

// more reports whether a field follows.
func (r *reader) more() bool { return len(r.rest) > 0 }

// repeated lets the field that was read last stand again.
func (r *reader) repeated() { r.least-- }

// next reads one field. Errors wrap tidemark.ErrCorrupt.
func (r *reader) next() (f field, err error) {
	number, wire, n := protowire.ConsumeTag(r.rest)
	if n < 0 {
		return f, r.damaged(protowire.ParseError(n))
	}
	if number < r.least {
		return f, fmt.Errorf("%w: field %d of %s stands twice or out of order", tidemark.ErrCorrupt, number, r.message)
	}
	r.rest, r.least = r.rest[n:], number+1
	f.number, f.wire = number, wire
	switch wire {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(r.rest)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(r.rest)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(r.rest)
	default:
		n = protowire.ConsumeFieldValue(number, wire, r.rest)
	}
	if n < 0 {
		return f, r.damaged(protowire.ParseError(n))
	}
	r.rest = r.rest[n:]
	return f, nil
}

func (r *reader) damaged(err error) error {
	return fmt.Errorf("%w: %s cannot be decoded: %w", tidemark.ErrCorrupt, r.message, err)
}

// unknown is the error for a field that this build does not know. Only a newer
// version writes one, and it means something that must not be left out.
func (r *reader) unknown(f field) error {
	return fmt.Errorf("%w: %s has the unknown field %d of wire type %d", tidemark.ErrNewerFormat, r.message, f.number, f.wire)
}
