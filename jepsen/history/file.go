package history

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// ErrTruncated is returned by Read, beside what could be read, when the file ends
// within a line or within its compression, as it does when the writer was killed.
var ErrTruncated = errors.New("history ends early")

// line is one line of a file: one of its fields is set.
type line struct {
	Meta      *Meta      `json:"meta,omitempty"`
	Operation *Operation `json:"operation,omitempty"`
	Fault     *Fault     `json:"fault,omitempty"`
	Sample    *Sample    `json:"sample,omitempty"`
	Log       *LogEntry  `json:"log,omitempty"`
}

// Writer writes a history line by line. It is used by one goroutine at a time.
type Writer struct {
	encoder *json.Encoder
	buffer  *bufio.Writer
	zip     *gzip.Writer
	file    *os.File
}

// Create begins a file, in gzip if path ends in ".gz". An existing one is replaced.
func Create(path string, meta Meta) (*Writer, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	w := &Writer{file: file}
	var out io.Writer = file
	if strings.HasSuffix(path, ".gz") {
		// The fastest level: a run must not wait for its own records.
		w.zip, _ = gzip.NewWriterLevel(file, gzip.BestSpeed)
		out = w.zip
	}
	w.buffer = bufio.NewWriterSize(out, 1<<18)
	w.encoder = json.NewEncoder(w.buffer)
	w.encoder.SetEscapeHTML(false)
	if err := w.Meta(meta); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return w, nil
}

// Meta writes a meta line. The last one of a file counts.
func (w *Writer) Meta(m Meta) error { return w.encoder.Encode(line{Meta: &m}) }

// Operation writes an operation.
func (w *Writer) Operation(op *Operation) error { return w.encoder.Encode(line{Operation: op}) }

// Fault writes a fault.
func (w *Writer) Fault(f Fault) error { return w.encoder.Encode(line{Fault: &f}) }

// Sample writes a sample.
func (w *Writer) Sample(s Sample) error { return w.encoder.Encode(line{Sample: &s}) }

// Log writes an entry of a Raft log.
func (w *Writer) Log(e LogEntry) error { return w.encoder.Encode(line{Log: &e}) }

// Close ends the file.
func (w *Writer) Close() error {
	err := w.buffer.Flush()
	if w.zip != nil {
		err = errors.Join(err, w.zip.Close())
	}
	return errors.Join(err, w.file.Close())
}

// Write writes a whole history to a file, see Create.
func Write(path string, h *History) (err error) {
	w, err := Create(path, h.Meta)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for i := range h.Operations {
		if err := w.Operation(&h.Operations[i]); err != nil {
			return err
		}
	}
	for _, f := range h.Faults {
		if err := w.Fault(f); err != nil {
			return err
		}
	}
	for _, s := range h.Samples {
		if err := w.Sample(s); err != nil {
			return err
		}
	}
	for _, e := range h.Logs {
		if err := w.Log(e); err != nil {
			return err
		}
	}
	return nil
}

// Read reads a file of Write or of a spilling Recorder, and orders its operations by
// Invoked. An error other than ErrTruncated comes without a history, and names the line.
func Read(path string) (*History, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	h, err := read(bufio.NewReaderSize(file, 1<<18), strings.HasSuffix(path, ".gz"))
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return h, err
}

// read reads a file's bytes.
func read(in io.Reader, zipped bool) (*History, error) {
	if !zipped {
		return decode(in)
	}
	zip, err := gzip.NewReader(in)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &History{}, fmt.Errorf("%w: within the gzip header", ErrTruncated)
	}
	if err != nil {
		return nil, err
	}
	defer zip.Close()
	return decode(zip)
}

// decode reads lines until the end.
func decode(in io.Reader) (*History, error) {
	h := &History{}
	var words interner
	reader := bufio.NewReaderSize(in, 1<<20)
	var early error
	for number := 1; early == nil; number++ {
		text, err := readLine(reader)
		if err == io.EOF && len(text) == 0 {
			break
		}
		switch {
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			early = fmt.Errorf("%w: within line %d", ErrTruncated, number)
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", number, err)
		default:
			if err := h.take(text, &words); err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
		}
	}
	if !slices.IsSortedFunc(h.Operations, func(a, b Operation) int { return byInvoked(&a, &b) }) {
		slices.SortFunc(h.Operations, func(a, b Operation) int { return byInvoked(&a, &b) })
	}
	return h, early
}

// readLine returns a line without its end, however long it is. What comes with an
// error is not a whole line.
func readLine(reader *bufio.Reader) ([]byte, error) {
	text, err := reader.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		long := bytes.Clone(text)
		for err == bufio.ErrBufferFull {
			text, err = reader.ReadSlice('\n')
			long = append(long, text...)
		}
		text = long
	}
	if err != nil {
		return text, err
	}
	return text[:len(text)-1], nil
}

// take adds what a line holds.
func (h *History) take(text []byte, words *interner) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	switch {
	case l.Meta != nil:
		h.Meta = *l.Meta
	case l.Operation != nil:
		words.operation(l.Operation)
		h.Operations = append(h.Operations, *l.Operation)
	case l.Fault != nil:
		h.Faults = append(h.Faults, *l.Fault)
	case l.Sample != nil:
		h.Samples = append(h.Samples, *l.Sample)
	case l.Log != nil:
		h.Logs = append(h.Logs, *l.Log)
	default:
		return errors.New("holds nothing known: want meta, operation, fault, sample or log")
	}
	return nil
}
