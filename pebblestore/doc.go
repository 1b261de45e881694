// Package pebblestore keeps timelines in Pebble: messages, heads, cursors, the
// dedupe index and the applied record, written in one kind of atomic batch.
//
// It promises that what it holds is an exact prefix of the batches that were
// committed, with the applied record of the last of them inside, whatever
// crashes; that a page shows one consistent view; and that damaged bytes are
// named and refused. It knows neither Raft nor gRPC, and must import neither.
// DESIGN.md says why it is built as it is.
//
// # Keys
//
// The first byte of a key is its table. Integers are big-endian, so that byte
// order is numeric order. A timeline is known in keys by its number.
//
//	0x00                                  store format
//	0x01                                  applied record
//	0x02                                  next timeline number
//	0x03  timeline id                     head record
//	0x04  number u64  seq u64             message record
//	0x05  number u64  message id          dedupe entry
//	0x06  number u64  reader              cursor record
//	0x07  length u8   reader  number u64  nothing: the timelines of a reader
//	0x08  number u64                      timeline id
//	0x09  number u64  length u8  user  seq u64
//	                                      ordinal uvarint: the index of senders, see senders.go
//	0x0a  number u64  timeline id         nothing: an inbox of the recipient set
//	0x0b  number u64                      recipient set
//	0x0c  number u64                      attributes of a timeline, if it has any
//	0x0d  prefix                          retention policy
//	0x0e                                  feature level u32, if it is above 1
//	0x0f                                  start of the change feed, if there is one
//	0x10  log index u64                   changes of a log entry that changed something
//	0x11  number u64  seq u64             delivery list of a message that was fanned out at
//	                                       feature level 8 or later
//	0x12  number u64  length u8  user  0x00  seq u64
//	                                      user, of the entries of all users (length 0): a
//	                                       redacted message; see redactions.go
//	0x12  number u64  length u8  user  0x01  block u64
//	                                      count uvarint of redacted messages in the block
//
// Server times never run backwards within a timeline, so a time is found by
// binary search over its messages, without keys of its own.
//
// # Records
//
// A record starts with its version, which is 1 unless said otherwise. Reading a higher one is
// tidemark.ErrNewerFormat; any byte out of place is tidemark.ErrCorrupt.
// "text" is a uvarint length and that many bytes.
//
// Store format:
//
//	format u32
//
// Next timeline number:
//
//	number u64, the one that the next timeline gets; the first is 1
//
// Applied record:
//
//	version u8  index u64  term u64  membership index u64  installed index u64
//	membership text
//
// Head record:
//
//	version u8  number uvarint  first uvarint  last uvarint  bytes uvarint
//	created time i64  last time i64  digest 16 bytes
//	flags u8  trimmed digest 16 bytes      only in version 2, of a timeline that was trimmed
//	                                       or deleted; bit 0 of the flags: it is deleted
//
// Message record; the timeline id and the SeqID are known from the key:
//
//	version u8
//	flags u8            bit 0: a client time follows; bit 1: it is a reference; bit 2: it was
//	                    revised; bit 4: it is a revision entry, or with bit 1 a reference to
//	                    one. The others must be 0
//	server time i64     at offset 2, where the binary search by time reads it
//	digest 16 bytes     at offset 10
//	client time i64     only with flag bit 0
//	revision uvarint  time i64  seq of its entry uvarint  redacted u8
//	original content hash 32 bytes
//	                    these five only with flag bit 2
//	message id text
//	sender text
//	type text
//	attributes          uvarint count, then for each: key text, value text
//	payload text
//
// A reference, which is an entry of an inbox, has the first four fields, and then the
// message that it refers to:
//
//	timeline number uvarint  seq uvarint  digest 16 bytes  message id text  user text
//
// The last three are the source's, and are kept because the source may be trimmed; user is
// that of the sender.
//
// A revision entry has the first four fields, and then:
//
//	seq of the revised message uvarint  revision uvarint  redacted u8
//	content hash 32 bytes  message id text  sender text
//
// Its content is in the record of the message that it revises, which has that of the newest
// revision only.
//
// The content hash of a message is in its record only once it was revised: otherwise it
// follows from the fields.
//
// Delivery list:
//
//	until the end: number of the inbox uvarint  seq of the entry there uvarint
//
// Dedupe entry, kept as long as its message; a reference has none:
//
//	seq u64  the first 16 bytes of the content hash
//
// Cursor record:
//
//	version u8  delivered uvarint  read uvarint  updated time i64
//	floor uvarint       only in version 2, and not 0
//
// Recipient set, of a timeline that has or had one:
//
//	version u8  version of the set uvarint  count uvarint
//
// Retention policy:
//
//	version u8  flags u8 (bit 0: acked by all)  max age uvarint, in nanoseconds
//	max messages uvarint  max bytes uvarint  keep at least uvarint
//	readers: count uvarint, then for each: text
//
// Attributes of a timeline:
//
//	version u8  count uvarint, then for each: key text, value text
//
// Start of the change feed:
//
//	version u8  feed id u64  first log index u64
//
// Changes of a log entry, in the order of its commands; see changes.go:
//
//	version u8  leader's time i64
//	runs until the end: kind u8  timeline number uvarint  seq uvarint
//	count uvarint       only of appended messages (kind 1): how many, from seq on
//
// Kind 2 is a trim, with the first seq that is retained, and kind 3 a deletion, with the last seq.
//
// Each batch also carries, in Pebble's log only, the applied index before it (u64).
//
// Format 1 had neither the index of senders nor feature levels; Open brings such a store
// to format 2.
//
// # Files
//
//	CURRENT              names the generation that is in force; see current.go
//	generation-NNNNNN/   a Pebble database
//	checkpoint-NNNNNN/   hard links that keep an open snapshot alive
//	PURGE                empty; what was redacted is to be compacted away; see purge.go
package pebblestore
