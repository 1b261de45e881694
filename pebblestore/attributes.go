package pebblestore

import (
	"encoding/binary"

	"tidemark"
)

func appendAttributesKey(b []byte, number uint64) []byte {
	return appendNumberPrefix(b, tableAttributes, number)
}

func appendAttributes(b []byte, attributes tidemark.Attributes) []byte {
	b = binary.AppendUvarint(append(b, recordVersion), uint64(len(attributes)))
	for i := range attributes {
		b = appendText(b, attributes[i].Key)
		b = appendText(b, attributes[i].Value)
	}
	return b
}

func decodeAttributes(key, record []byte) (tidemark.Attributes, error) {
	d := decoder{rest: record}
	if err := d.version(key); err != nil {
		return nil, err
	}
	count := d.uvarint()
	var attributes tidemark.Attributes
	for i := uint64(0); i < count && !d.bad; i++ {
		attributes = append(attributes, tidemark.Attribute{Key: string(d.text()), Value: string(d.text())})
	}
	d.bad = d.bad || count == 0
	return attributes, d.finish(key)
}

// attributes are those of a timeline; nil for none.
func (v *view) attributes(number uint64) (tidemark.Attributes, error) {
	v.key = appendAttributesKey(v.key[:0], number)
	record, found, err := v.find(v.key)
	if err != nil || !found {
		return nil, err
	}
	return decodeAttributes(v.key, record)
}

// Attributes are those of a timeline as this batch would leave them; nil for none.
func (b *Batch) Attributes(number uint64) (tidemark.Attributes, error) {
	if attributes, ok := b.attributes[number]; ok || b.cleared[number] {
		return attributes, nil
	}
	if b.err != nil {
		return nil, b.err
	}
	return b.view.attributes(number)
}

// SetAttributes replaces the attributes of a timeline.
func (b *Batch) SetAttributes(number uint64, attributes tidemark.Attributes) error {
	b.attributes[number] = attributes
	if len(attributes) == 0 {
		b.out.delete(appendAttributesKey(nil, number))
		return nil
	}
	b.out.set(appendAttributesKey(nil, number), appendAttributes(nil, attributes))
	return nil
}
