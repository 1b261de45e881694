package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// verifyTables reads every block of the tables in dir, and checks their checksums.
// It returns how many there are, and their size. A table that is not there any
// more is passed over: compaction drops tables, and a missing one that is still
// needed shows when its keys are read.
func verifyTables(fsys vfs.FS, dir string, names []string, verified func()) (count int, size uint64, err error) {
	options := (&Options{}).pebbleOptions(fsys, &events{})
	options.EnsureDefaults()
	reader := options.MakeReaderOptions()
	for _, name := range names {
		path := fsys.PathJoin(dir, name)
		n, err := verifyTable(fsys, path, reader)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return count, size, err
		}
		count, size = count+1, size+n
		verified()
	}
	return count, size, nil
}

func verifyTable(fsys vfs.FS, path string, options sstable.ReaderOptions) (size uint64, err error) {
	file, err := fsys.Open(path)
	if err != nil {
		return 0, err
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return 0, errors.Join(err, file.Close())
	}
	size = uint64(readable.Size())
	table, err := sstable.NewReader(context.Background(), readable, options)
	if err != nil {
		// NewReader closed the file.
		return 0, fmt.Errorf("%w: file %s: %w", tidemark.ErrCorrupt, path, err)
	}
	if err := errors.Join(table.ValidateBlockChecksums(), table.Close()); err != nil {
		return 0, fmt.Errorf("%w: file %s: %w", tidemark.ErrCorrupt, path, err)
	}
	return size, nil
}

// liveTables names the tables of the database.
func liveTables(db *pebble.DB) ([]string, error) {
	levels, err := db.SSTables()
	if err != nil {
		return nil, wrapPebble(err)
	}
	var names []string
	for _, tables := range levels {
		for i := range tables {
			names = append(names, fmt.Sprintf("%06d.sst", uint64(tables[i].FileNum)))
		}
	}
	return names, nil
}
