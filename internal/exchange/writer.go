package exchange

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"tidemark"
)

// Writer writes messages as lines. A file appears under its name only when Close
// has succeeded, so that a broken export is never taken for a whole one.
type Writer struct {
	lines  *bufio.Writer
	packer *gzip.Writer
	file   *os.File
	name   string
	buffer []byte
}

// Create writes to the file, or to standard output if its name is "-". A file
// whose name ends in .gz is compressed.
func Create(name string) (*Writer, error) {
	if name == Stdin {
		return NewWriter(os.Stdout), nil
	}
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".unfinished-*")
	if err != nil {
		return nil, err
	}
	w := &Writer{file: file, name: name}
	var target io.Writer = file
	if strings.HasSuffix(name, ".gz") {
		w.packer = gzip.NewWriter(file)
		target = w.packer
	}
	w.lines = bufio.NewWriterSize(target, 256<<10)
	return w, nil
}

// NewWriter writes uncompressed lines to target.
func NewWriter(target io.Writer) *Writer {
	return &Writer{lines: bufio.NewWriterSize(target, 64<<10)}
}

// Write adds a line.
func (w *Writer) Write(m *tidemark.Message) error { return w.WriteRecord(FromMessage(m)) }

// WriteRecord writes one line.
func (w *Writer) WriteRecord(record Record) error {
	line, err := record.AppendLine(w.buffer[:0])
	if err != nil {
		return err
	}
	w.buffer = line
	_, err = w.lines.Write(line)
	return err
}

// Close completes the file, makes it durable and gives it its name.
func (w *Writer) Close() error {
	err := w.lines.Flush()
	if w.packer != nil {
		err = errors.Join(err, w.packer.Close())
	}
	if w.file == nil {
		return err
	}
	err = errors.Join(err, w.file.Chmod(0o644), w.file.Sync(), w.file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(w.file.Name()))
	}
	return os.Rename(w.file.Name(), w.name)
}

// Abort removes what was written to a file.
func (w *Writer) Abort() error {
	if w.file == nil {
		return nil
	}
	return errors.Join(w.file.Close(), os.Remove(w.file.Name()))
}
