package pebblestore

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// The file CURRENT is the root of the store: it says which format the store has,
// before anything else is touched, and which generation is in force. It is
// replaced whole, by one rename:
//
//	tidemark store 2
//	generation-000001 ready
//	durable 4711
//	crc32c 89abcdef
//
// The state is "creating" from before the first generation's directory exists until
// its database is complete and synced. So an empty store that was never finished is
// told from one that lost its database, which is never replaced by an empty one.
//
// The third line is an applied index that the database held durably. Sync raises
// it, so that a log or manifest which later loses its end is noticed: Pebble by
// itself takes most such damage for the end that a loss of power leaves.
//
// The last line is the checksum of the lines before it.
const (
	currentName    = "CURRENT"
	currentTmpName = "CURRENT.tmp"
	currentMagic   = "tidemark store "

	generationPrefix = "generation-"
	checkpointPrefix = "checkpoint-"
)

type current struct {
	format     uint32
	generation uint64
	creating   bool
	durable    uint64
}

func generationName(n uint64) string { return fmt.Sprintf("%s%06d", generationPrefix, n) }
func checkpointName(n uint64) string { return fmt.Sprintf("%s%06d", checkpointPrefix, n) }

// parseNumbered returns the number of a name that starts with prefix.
func parseNumbered(name, prefix string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, err == nil && fmt.Sprintf("%s%06d", prefix, n) == name
}

func (c current) encode() string {
	state := "ready"
	if c.creating {
		state = "creating"
	}
	text := fmt.Sprintf("%s%d\n%s %s\ndurable %d\n", currentMagic, c.format, generationName(c.generation), state, c.durable)
	return text + fmt.Sprintf("crc32c %08x\n", crc32.Checksum([]byte(text), castagnoli))
}

// parseCurrent refuses a newer format by the first line alone, because later
// formats may change all that follows.
func parseCurrent(path, text string) (current, error) {
	bad := func(why string) (current, error) {
		return current{}, fmt.Errorf("%w: %s: %s", tidemark.ErrCorrupt, path, why)
	}
	first, rest, _ := strings.Cut(text, "\n")
	version, ok := strings.CutPrefix(first, currentMagic)
	if !ok {
		return bad("is not the root of a store")
	}
	format, err := strconv.ParseUint(version, 10, 32)
	if err != nil || format == 0 {
		return bad("names no format")
	}
	if format > storeFormat {
		return current{}, fmt.Errorf("%w: %s has store format %d; this version of tidemark knows %d", tidemark.ErrNewerFormat, path, format, storeFormat)
	}
	second, rest, _ := strings.Cut(rest, "\n")
	third, _, _ := strings.Cut(rest, "\n")
	name, state, _ := strings.Cut(second, " ")
	n, ok := parseNumbered(name, generationPrefix)
	durable, err := strconv.ParseUint(strings.TrimPrefix(third, "durable "), 10, 64)
	c := current{format: uint32(format), generation: n, creating: state == "creating", durable: durable}
	if !ok || err != nil || c.encode() != text {
		return bad("is damaged")
	}
	return c, nil
}

// readCurrent returns found == false if there is no CURRENT.
func readCurrent(fsys vfs.FS, dir string) (c current, found bool, err error) {
	path := fsys.PathJoin(dir, currentName)
	file, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return current{}, false, nil
	}
	if err != nil {
		return current{}, false, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 1<<10))
	if err != nil {
		return current{}, false, fmt.Errorf("read %s: %w", path, err)
	}
	c, err = parseCurrent(path, string(text))
	return c, err == nil, err
}

// writeCurrent replaces CURRENT. If it returns renamed == true and an error, it is
// unknown which of the two a crash would leave.
func writeCurrent(fsys vfs.FS, dir string, c current) (renamed bool, err error) {
	tmp := fsys.PathJoin(dir, currentTmpName)
	if err := writeFileSync(fsys, tmp, []byte(c.encode())); err != nil {
		return false, wrapFull(fmt.Errorf("write %s: %w", tmp, err))
	}
	path := fsys.PathJoin(dir, currentName)
	if err := fsys.Rename(tmp, path); err != nil {
		return false, wrapFull(fmt.Errorf("replace %s: %w", path, err))
	}
	return true, syncDir(fsys, dir)
}

func writeFileSync(fsys vfs.FS, path string, data []byte) error {
	file, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func syncDir(fsys vfs.FS, dir string) error {
	handle, err := fsys.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	if err := errors.Join(handle.Sync(), handle.Close()); err != nil {
		return wrapFull(fmt.Errorf("sync directory %s: %w", dir, err))
	}
	return nil
}

// makeDirs makes dir and what is missing of its parents, and syncs each into the
// directory that holds it, the topmost one last.
func makeDirs(fsys vfs.FS, dir string) error {
	var holders []string
	for at := dir; ; {
		parent := fsys.PathDir(at)
		if parent == at {
			break
		}
		holders = append(holders, parent)
		if _, err := fsys.Stat(parent); err == nil {
			break
		}
		at = parent
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return wrapFull(fmt.Errorf("make directory %s: %w", dir, err))
	}
	for _, holder := range holders {
		if err := syncDir(fsys, holder); err != nil {
			return err
		}
	}
	return nil
}
