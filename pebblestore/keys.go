package pebblestore

import (
	"encoding/binary"
	"fmt"

	"tidemark"
)

// Tables, the first byte of every key.
const (
	tableFormat byte = iota
	tableApplied
	tableNextNumber
	tableHead
	tableMessage
	tableDedupe
	tableCursor
	tableReader
	tableNumber
	tableSender
	tableRecipient
	tableRecipientSet
	tableAttributes
	tablePolicy
	tableLevel
	tableFeed
	tableChange
	tableDelivery
	tableRedacted
	tableEnd // not a table: the first byte that no key has
)

var (
	keyFormat     = []byte{tableFormat}
	keyApplied    = []byte{tableApplied}
	keyNextNumber = []byte{tableNextNumber}
	keyLevel      = []byte{tableLevel}
	keyFeed       = []byte{tableFeed}
)

// isNumbered reports whether keys of the table go on with a timeline's number.
func isNumbered(table byte) bool {
	switch table {
	case tableMessage, tableDedupe, tableCursor, tableNumber, tableSender, tableRecipient, tableRecipientSet, tableAttributes, tableDelivery, tableRedacted:
		return true
	}
	return false
}

const (
	numberPrefixBytes = 1 + 8
	messageKeyBytes   = numberPrefixBytes + 8
)

func appendHeadKey(b []byte, id tidemark.TimelineID) []byte {
	return append(append(b, tableHead), id...)
}

// appendNumberPrefix is what all keys of a timeline in table start with.
func appendNumberPrefix(b []byte, table byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, table), number)
}

func appendMessageKey(b []byte, number uint64, seq tidemark.SeqID) []byte {
	return binary.BigEndian.AppendUint64(appendNumberPrefix(b, tableMessage, number), uint64(seq))
}

func appendDedupeKey(b []byte, number uint64, id tidemark.MessageID) []byte {
	return append(appendNumberPrefix(b, tableDedupe, number), id...)
}

func appendCursorKey(b []byte, number uint64, reader tidemark.ReaderID) []byte {
	return append(appendNumberPrefix(b, tableCursor, number), reader...)
}

// appendReaderPrefix is what the keys of all timelines of a reader start with.
// The length comes first, so that no reader's keys are among those of another
// whose name starts with its own.
func appendReaderPrefix(b []byte, reader tidemark.ReaderID) []byte {
	return append(append(b, tableReader, byte(len(reader))), reader...)
}

func appendReaderKey(b []byte, reader tidemark.ReaderID, number uint64) []byte {
	return binary.BigEndian.AppendUint64(appendReaderPrefix(b, reader), number)
}

func appendNumberKey(b []byte, number uint64) []byte {
	return appendNumberPrefix(b, tableNumber, number)
}

func appendChangeKey(b []byte, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, tableChange), index)
}

func splitChangeKey(key []byte) (index uint64, ok bool) {
	if len(key) != 1+8 || key[0] != tableChange {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), true
}

// splitNumber reads the number of a key of the tables for messages, dedupe
// entries, cursors and numbers, and returns what follows it.
func splitNumber(key []byte) (number uint64, rest []byte, ok bool) {
	if len(key) < numberPrefixBytes {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(key[1:]), key[numberPrefixBytes:], true
}

func splitMessageKey(key []byte) (number uint64, seq tidemark.SeqID, ok bool) {
	if len(key) != messageKeyBytes {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), tidemark.SeqID(binary.BigEndian.Uint64(key[numberPrefixBytes:])), true
}

func splitReaderKey(key []byte) (reader tidemark.ReaderID, number uint64, ok bool) {
	if len(key) < 2 || len(key) != 2+int(key[1])+8 {
		return "", 0, false
	}
	at := 2 + int(key[1])
	return tidemark.ReaderID(key[2:at]), binary.BigEndian.Uint64(key[at:]), true
}

// describeKey renders a key for errors.
func describeKey(key []byte) string {
	if len(key) == 0 {
		return "empty key"
	}
	switch key[0] {
	case tableFormat:
		return "store format"
	case tableApplied:
		return "applied record"
	case tableNextNumber:
		return "next timeline number"
	case tableHead:
		return fmt.Sprintf("head of timeline %q", key[1:])
	case tableMessage:
		if number, seq, ok := splitMessageKey(key); ok {
			return fmt.Sprintf("message %d of timeline number %d", seq, number)
		}
	case tableDedupe:
		if number, id, ok := splitNumber(key); ok {
			return fmt.Sprintf("dedupe entry %q of timeline number %d", id, number)
		}
	case tableCursor:
		if number, reader, ok := splitNumber(key); ok {
			return fmt.Sprintf("cursor of reader %q in timeline number %d", reader, number)
		}
	case tableReader:
		if reader, number, ok := splitReaderKey(key); ok {
			return fmt.Sprintf("index entry of reader %q for timeline number %d", reader, number)
		}
	case tableNumber:
		if number, rest, ok := splitNumber(key); ok && len(rest) == 0 {
			return fmt.Sprintf("id of timeline number %d", number)
		}
	case tableSender:
		if number, user, seq, ok := splitSenderKey(key); ok {
			return fmt.Sprintf("entry of sender %q for message %d of timeline number %d", user, seq, number)
		}
	case tableRecipient:
		if number, inbox, ok := splitNumber(key); ok {
			return fmt.Sprintf("recipient %q of timeline number %d", inbox, number)
		}
	case tableRecipientSet:
		if number, rest, ok := splitNumber(key); ok && len(rest) == 0 {
			return fmt.Sprintf("recipient set of timeline number %d", number)
		}
	case tableAttributes:
		if number, rest, ok := splitNumber(key); ok && len(rest) == 0 {
			return fmt.Sprintf("attributes of timeline number %d", number)
		}
	case tablePolicy:
		return fmt.Sprintf("retention policy of the prefix %q", key[1:])
	case tableLevel:
		return "feature level"
	case tableFeed:
		return "start of the change feed"
	case tableChange:
		if index, ok := splitChangeKey(key); ok {
			return fmt.Sprintf("changes of log entry %d", index)
		}
	}
	return describeRevisionKey(key)
}
