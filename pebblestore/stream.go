package pebblestore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"tidemark"
)

// A snapshot stream holds the files of a checkpoint. Integers are big-endian.
//
//	header
//	    magic "tmsnap\r\n"             8 bytes; a transfer as text would break it
//	    format u32                     the stream's, which is 1
//	    total u64                      bytes of the whole stream
//	    files u32                      their number, at least 1
//	    applied length u32             at most 1 MiB
//	    applied record                 as under key 0x01
//	    crc32c u32                     of the header so far
//	for each file, in strictly rising order of names
//	    name length u16, name          1 to 128 of the letters, digits and "._-", not starting with "."
//	    size u64
//	    crc32c u32                     of name length, name and size
//	    content                        size bytes
//	    crc32c u32                     of content
//	trailer
//	    SHA-256                        of all bytes before, 32 bytes
//
// The CRCs name the part that is damaged as soon as it has passed, at the speed of
// memory. The SHA-256 covers what they leave open: damage that a CRC misses by
// chance once in four billion, and parts that are whole but in the wrong place.
const (
	streamMagic   = "tmsnap\r\n"
	streamFormat  = 1
	streamFixed   = len(streamMagic) + 4 + 8 + 4 + 4
	streamTrailer = 32

	maxStreamApplied = 1 << 20
	maxStreamName    = 128
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// streamFile is one file of a snapshot stream.
type streamFile struct {
	name string
	size uint64
}

type streamHeader struct {
	total   uint64
	files   uint32
	applied tidemark.Applied
}

func appendCRC(b, of []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(of, castagnoli))
}

func appendStreamHeader(b []byte, h *streamHeader) []byte {
	applied := appendApplied(nil, &h.applied)
	b = append(b, streamMagic...)
	b = binary.BigEndian.AppendUint32(b, streamFormat)
	b = binary.BigEndian.AppendUint64(b, h.total)
	b = binary.BigEndian.AppendUint32(b, h.files)
	b = binary.BigEndian.AppendUint32(b, uint32(len(applied)))
	b = append(b, applied...)
	return appendCRC(b, b)
}

func appendFileHeader(b []byte, f *streamFile) []byte {
	begin := len(b)
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.name)))
	b = append(b, f.name...)
	b = binary.BigEndian.AppendUint64(b, f.size)
	return appendCRC(b, b[begin:])
}

// streamSize is the size of the stream of these files.
func streamSize(applied *tidemark.Applied, files []streamFile) uint64 {
	size := uint64(streamFixed + len(appendApplied(nil, applied)) + 4 + streamTrailer)
	for i := range files {
		size += 2 + uint64(len(files[i].name)) + 8 + 4 + files[i].size + 4
	}
	return size
}

func badStream(format string, args ...any) error {
	return fmt.Errorf("%w: snapshot stream: %s", tidemark.ErrCorrupt, fmt.Sprintf(format, args...))
}

// parseStreamFixed reads the fixed part of the header, and returns how long the
// rest of the header is. A newer format is refused before anything else is looked at.
func parseStreamFixed(b []byte) (h streamHeader, rest int, err error) {
	if string(b[:len(streamMagic)]) != streamMagic {
		return h, 0, badStream("does not start with the magic bytes")
	}
	d := decoder{rest: b[len(streamMagic):]}
	format := binary.BigEndian.Uint32(d.take(4))
	if format > streamFormat {
		return h, 0, fmt.Errorf("%w: snapshot stream has format %d; this version of tidemark knows %d", tidemark.ErrNewerFormat, format, streamFormat)
	}
	h.total = d.u64()
	h.files = binary.BigEndian.Uint32(d.take(4))
	applied := binary.BigEndian.Uint32(d.take(4))
	if format == 0 || h.files == 0 || applied > maxStreamApplied {
		return h, 0, badStream("header names format %d, %d files and %d bytes of applied record", format, h.files, applied)
	}
	return h, int(applied) + 4, nil
}

// parseStreamApplied reads the rest of the header; all is the whole of it.
func parseStreamApplied(h *streamHeader, all []byte) (err error) {
	if !endsInCRC(all) {
		return badStream("header is damaged")
	}
	h.applied, err = decodeApplied(all[streamFixed : len(all)-4])
	return err
}

// parseFileHeader reads a whole file header.
func parseFileHeader(all []byte, previous string) (streamFile, error) {
	if !endsInCRC(all) {
		return streamFile{}, badStream("header of the file after %q is damaged", previous)
	}
	d := decoder{rest: all[2 : len(all)-4]}
	f := streamFile{name: string(d.take(len(d.rest) - 8)), size: d.u64()}
	if err := validateFileName(f.name); err != nil {
		return streamFile{}, err
	}
	if f.name <= previous {
		return streamFile{}, badStream("file %q is not after %q", f.name, previous)
	}
	return f, nil
}

func endsInCRC(b []byte) bool {
	body := b[:len(b)-4]
	return crc32.Checksum(body, castagnoli) == binary.BigEndian.Uint32(b[len(b)-4:])
}

// validateFileName lets through only names of plain files within one directory:
// a stream comes from the network, and must not write anywhere else.
func validateFileName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if name == "" || len(name) > maxStreamName || name[0] == '.' {
		return badStream("file name %.200q is not allowed", name)
	}
	for i := range len(name) {
		if strings.IndexByte(allowed, name[i]) < 0 {
			return badStream("file name %.200q is not allowed", name)
		}
	}
	return nil
}
