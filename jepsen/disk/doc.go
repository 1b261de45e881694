// Package disk is the file system below a node's data directory, which loses,
// refuses, holds up and damages what a nemesis wants. It runs on Linux, as root,
// through FUSE.
//
// # What a power failure takes
//
// A disk follows POSIX, and where POSIX says little it is as unkind as the file
// systems of Linux may be.
//
//   - Contents: what fsync, fdatasync or a write to a file opened with O_SYNC or
//     O_DSYNC covered is there, and so is the size. Of later writes, each sector of
//     512 bytes, or for some files each block of 4 KiB, is there or is not, whatever
//     the order of the writes; a sector holds what was synced or what was written
//     last. A file that grew has any size of whole sectors up to its last one, with
//     zeros where a sector is not there. truncate and fallocate are undone as a
//     whole.
//   - Names: create, mkdir, link, symlink, rename and unlink are durable after an
//     fsync of the directory. Of later ones, each directory keeps a first part in
//     order, possibly none. A rename happens in both directories or in neither. The
//     name of a directory is the matter of the directory that it is in: without it,
//     all below is gone. A name may stand for a file without contents, and the last
//     name of a file may come back. With Options.OneJournal there is one order for
//     all directories, and any fsync keeps all before it, as in ext4 and XFS.
//   - After an fsync that failed, what was written before it is not made durable by
//     the next one; see Control.Fail.
//   - Modes, owners and times are durable at once. There are no extended attributes,
//     no O_TMPFILE and no exchange of names. sync(2), syncfs(2) and
//     sync_file_range(2) keep nothing. Pages that a process changed through a shared
//     mapping are unsynced writes once the kernel has written them back; before, they
//     are lost. No database of a node writes so.
//
// The process is killed before the power fails. Whatever is still open answers EIO.
//
// # How it works
//
// The live contents are ordinary files in the backing directory, under the same
// names: it can be read at any time, and a harness that crashes leaves them as they
// were. The mount adds ".unsynced" there, for files whose last name is gone but
// could come back, until Close.
//
// For each file, the disk holds the old contents of the blocks that were overwritten
// or cut off since the last sync, and the old size (contents.go). For each directory
// it holds the durable names beside the live ones, and in one log the operations
// between them (names.go). A sync drops the old contents, or applies operations to
// the durable names: those of the directory and, transitively, all older ones that
// share a directory with one of them. A power failure draws which operations survive
// so that what they need survives too, lays out the backing directory anew, and puts
// old sectors back (power.go).
//
// The kernel caches pages, and what is written goes through it, so a mapping shows
// what pwrite wrote. It caches no names: after a power failure every file has a new
// inode number, and nothing that was cached is found again. It is told to drop pages
// of a file that was damaged.
//
// # Decisions and their price
//
//   - An fsync costs no fsync below, so it takes about 20 µs where the file system
//     of the machine takes a tenth of a millisecond or more. Options.SyncBacking and
//     Stall bring latency back.
//   - There are no states between the synced and the last one: a sector that was
//     written twice is never as it was between. An fsync is of the whole file.
//   - State is in memory. If the process that serves the disk dies, the mount is
//     stale (CleanUp), the files are there, and everything counts as durable.
//   - Pebble knows sync_file_range from ext4 only, and does fdatasync here instead:
//     a flush of a table is synced in more steps than on ext4.
//   - A process must not map files of a disk that it serves itself, which opening a
//     database does: a page fault stops a thread of the Go runtime that the answer
//     may need. Read the backing directory instead.
package disk
