package logstore

import (
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// Read calls visit for each entry of the log in o.Dir, oldest first, and changes
// nothing on the disk. It ends the log where Open would: what a crash left of an
// append that was cut short is not visited. All of the log is checked before the
// first call, so that no entry of a damaged log is ever shown. The entry is valid
// during the call; an error of visit ends the reading.
//
// Only Kind, Dir and MustExist of the options are used, and errors are those of
// Open. A store that was never made has no entries. The directory must not be in
// use by another process.
func Read(o Options, visit func(*raft.Log) error) error {
	if err := read(o, visit); err != nil {
		return fmt.Errorf("read raft log: %w", translate(err))
	}
	return nil
}

func read(o Options, visit func(*raft.Log) error) error {
	s, there, err := find(o, filepath.Join(o.Dir, markName))
	if err != nil || !there {
		return err
	}
	c, err := check(o, s, nil)
	if err != nil {
		return err
	}
	var failed error
	_, err = check(o, s, func(l *raft.Log) {
		// Entries of a torn end have higher indexes than the last one that counts.
		if failed == nil && l.Index <= c.log.last {
			failed = visit(l)
		}
	})
	if failed != nil {
		return failed
	}
	return err
}
