//go:build linux

package disk

import (
	"log/slog"
	"syscall"
	"time"
)

// Options is how a Disk behaves. The zero value is the strictest file system that
// POSIX allows.
type Options struct {
	// Seed decides which operations a rule with a Probability hits.
	Seed uint64
	// OneJournal makes operations on names survive in their order over all
	// directories, and any fsync keep all before it, as in ext4 and XFS. POSIX, and
	// Disk by default, asks for an fsync of each directory.
	OneJournal bool
	// SyncBacking passes each fsync on to the file system of the backing directory,
	// for its latency. What a power failure keeps does not depend on it.
	SyncBacking bool
	// UnsyncedBytes bounds the old contents that are held in memory per file, and
	// UnsyncedNames the operations on names per disk. Beyond, the oldest become
	// durable, as when a kernel writes back. 0 means 64 MiB, and 10,000.
	UnsyncedBytes, UnsyncedNames int
	// Logger may be nil.
	Logger *slog.Logger
}

// Ops is a set of operations.
type Ops uint32

// The operations that a Rule can hit. OpWrite is also fallocate, OpSync fsync,
// fdatasync and O_SYNC, and OpOpen does not create.
const (
	OpRead Ops = 1 << iota
	OpWrite
	OpSync
	OpSyncDir
	OpOpen
	OpCreate
	OpMkdir
	OpLink
	OpRename
	OpUnlink
	OpTruncate
	OpReaddir
	OpLookup

	// OpsData is all that touches contents, OpsNames all that changes names, OpsSync
	// all that makes durable, and OpsAll everything.
	OpsData  = OpRead | OpWrite | OpTruncate
	OpsNames = OpCreate | OpMkdir | OpLink | OpRename | OpUnlink
	OpsSync  = OpSync | OpSyncDir
	OpsAll   = OpsData | OpsNames | OpsSync | OpOpen | OpReaddir | OpLookup
)

// Rule says which operations are hit.
type Rule struct {
	// Ops is the set of operations; 0 means OpsAll.
	Ops Ops
	// Path is a pattern of the file's path below the mount, such as "raft/*.wal", with
	// the wildcards of path.Match in each element, and ** for any number of elements.
	// A pattern without a slash is of the last element. Empty matches all. Of a
	// rename, either path may match.
	Path string
	// Probability, in (0, 1], is of each operation. 0 means 1.
	Probability float64
	// Skip is how many operations pass before the first is hit, Count how many are hit
	// at most. Count 0 has no limit.
	Skip, Count int
}

// Loss is what a power failure took.
type Loss struct {
	// Names is how many operations on names were undone, NamesKept how many survived
	// without having been synced.
	Names, NamesKept int
	// Files is how many files lost contents, Sectors how many sectors of 512 bytes,
	// SectorsKept how many survived without having been synced. Sectors past the new
	// end of a file count as lost.
	Files, Sectors, SectorsKept int
}

// Damage is what was done to a file.
type Damage struct {
	// Path is relative to the mount.
	Path string
	// Offset is of the byte that was changed, or the new size.
	Offset int64
	// Bit is the number of the bit that was flipped, 0 the lowest.
	Bit uint
}

// Stats counts what was asked of a disk since it was mounted.
type Stats struct {
	Counts
	// Files has the counts of each file and directory that exists, by path.
	Files map[string]Counts
	// Failed and Stalled count the operations that rules hit.
	Failed, Stalled int
	// UnsyncedNames is how many operations on names a power failure may undo now,
	// UnsyncedFiles how many files have contents that it may take.
	UnsyncedNames, UnsyncedFiles int
	// PowerFailures is how many there were.
	PowerFailures int
}

// Counts counts operations.
type Counts struct {
	Reads, Writes, Syncs  int
	ReadBytes, WroteBytes int64
}

// Control is what a nemesis does to a disk. All methods are safe for concurrent use.
type Control interface {
	// PowerFailure takes what was not synced: each unsynced sector and operation on
	// names survives or not as the seed decides, within what the package promises. The
	// process that used the disk has been killed; what it had open answers EIO.
	PowerFailure(seed uint64) (Loss, error)
	// LoseUnsynced is the power failure after which nothing unsynced survives.
	LoseUnsynced() (Loss, error)
	// Fail lets operations fail with errno, but ENOSYS, without effect. A fsync that
	// fails makes nothing durable, and what was written before it never becomes so by
	// a later fsync, but only by being written again, as in Linux.
	Fail(rule Rule, errno syscall.Errno) (*Injection, error)
	// Stall holds operations up for d before they are done, or until healed if d is 0.
	// One whose process is killed meanwhile fails with EINTR, without effect.
	Stall(rule Rule, d time.Duration) (*Injection, error)
	// Lie answers syncs as done that keep nothing, as a disk does whose cache does not
	// survive and which does not say so. No database survives that: it is a planted
	// bug, or the fault of a minority. O_SYNC still keeps.
	Lie(rule Rule) (*Injection, error)
	// Fill leaves that many bytes free, until Heal.
	Fill(free int64)
	// FlipBit changes one bit of one file that matches the pattern (see Rule.Path), at
	// the offset, or where the seed decides if offset is negative: anywhere, and more
	// often near the beginning.
	FlipBit(pattern string, offset int64, seed uint64) (Damage, error)
	// Truncate cuts one file that matches the pattern down to size, or to where the
	// seed decides if size is negative.
	Truncate(pattern string, size int64, seed uint64) (Damage, error)
	// Save remembers the contents of the file, until Close. RollBack brings them back,
	// in the file that has the path then, as a disk does that lost all writes since.
	Save(path string) (*Saved, error)
	RollBack(saved *Saved) error
	// Heal ends all injections and the shortage of space. Contents stay as they are.
	Heal()
	Stats() Stats
}

var _ Control = (*Disk)(nil)
