package exchange

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"tidemark"
)

// A LineError says which line of the input is broken and how.
type LineError struct {
	// Line counts from 1.
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// Reader reads drafts from lines. Its methods are for one goroutine, but
// BytesRead, which may be called from any.
type Reader struct {
	file    io.Closer
	counter *countingReader
	lines   *bufio.Reader
	line    int
	size    int64
}

// Stdin is the name that stands for standard input and standard output.
const Stdin = "-"

// Open opens the file, or standard input if its name is "-". A file whose name
// ends in .gz is unpacked.
func Open(name string) (*Reader, error) {
	if name == Stdin {
		return NewReader(os.Stdin), nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	reader := NewReader(file)
	reader.file = file
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		reader.size = info.Size()
	}
	if strings.HasSuffix(name, ".gz") {
		unpacked, err := gzip.NewReader(reader.counter)
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("%s: its name ends in .gz, but it does not begin like a gzip file: %w", name, err)
		}
		reader.lines = bufio.NewReaderSize(unpacked, 64<<10)
	}
	return reader, nil
}

// NewReader reads uncompressed lines from source.
func NewReader(source io.Reader) *Reader {
	counter := &countingReader{source: source}
	return &Reader{counter: counter, lines: bufio.NewReaderSize(counter, 64<<10)}
}

// Next returns the next draft and the number of its line. It skips empty lines, and entries
// of inboxes, revision entries and redacted messages.
// At the end it returns io.EOF; a broken line is a *LineError, after which Next
// may be called again; any other error is one of the file, and final.
func (r *Reader) Next() (tidemark.Draft, int, error) {
	record, line, err := r.NextRecord()
	for err == nil && record.skipped() {
		record, line, err = r.NextRecord()
	}
	if err != nil {
		return tidemark.Draft{}, line, err
	}
	draft, err := record.Draft()
	if err != nil {
		return tidemark.Draft{}, line, &LineError{line, err}
	}
	return draft, line, nil
}

// NextRecord is Next with all that stands in the line, which is not checked, and without
// leaving anything out.
func (r *Reader) NextRecord() (Record, int, error) {
	for {
		line, err := r.readLine()
		if err != nil {
			return Record{}, r.line, err
		}
		if r.line == 1 {
			// Some editors put it in front of UTF-8.
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		record, err := Decode(line)
		if err != nil {
			return Record{}, r.line, &LineError{r.line, err}
		}
		return record, r.line, nil
	}
}

// readLine returns the next line without its line feed, in memory of its own. Of a line
// that is too long it reads the rest and keeps nothing.
func (r *Reader) readLine() ([]byte, error) {
	var line []byte
	tooLong := false
	r.line++
	for {
		piece, err := r.lines.ReadSlice('\n')
		if len(line)+len(piece) > MaxLineBytes {
			line, tooLong = nil, true
		}
		if !tooLong {
			line = append(line, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case tooLong && (err == nil || errors.Is(err, io.EOF)):
			return nil, &LineError{r.line, fmt.Errorf("is longer than %d bytes, and cannot hold a message", MaxLineBytes)}
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		case err != nil:
			return nil, fmt.Errorf("read line %d: %w", r.line, err)
		}
		return bytes.TrimSuffix(line, []byte("\n")), nil
	}
}

// Size is the number of bytes of the file, or 0 if that is not known.
func (r *Reader) Size() int64 { return r.size }

// BytesRead is how many bytes of the file were read, before unpacking.
func (r *Reader) BytesRead() int64 { return r.counter.count.Load() }

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

type countingReader struct {
	source io.Reader
	count  atomic.Int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	r.count.Add(int64(n))
	return n, err
}
