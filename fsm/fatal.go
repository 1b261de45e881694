package fsm

import (
	"errors"
	"fmt"

	"tidemark"
)

// errFault is for what cannot happen unless the program is wrong.
var errFault = errors.New("fault of the program")

// cannotApply is the error that ends the process: which entry, which part of it
// (or nothing), what is wrong, and what the operator is to do.
func cannotApply(e *tidemark.Entry, part string, err error) error {
	if part != "" {
		part = ", " + part
	}
	return fmt.Errorf("cannot apply log entry: index %d, term %d%s: %w; the node stops, because going on would make it differ from the other replicas; %s",
		e.Index, e.Term, part, err, advice(err))
}

func advice(err error) string {
	switch {
	case errors.Is(err, tidemark.ErrNewerFormat):
		return "install the version of Tidemark that the rest of the cluster runs, or a newer one, and start the node again"
	case errors.Is(err, tidemark.ErrDiskFull):
		return "make room on the disk and start the node again"
	case errors.Is(err, tidemark.ErrCorrupt):
		return "start the node again; if it stops at the same place, its data directory is damaged: remove the node, empty the directory and add the node again"
	case errors.Is(err, errFault):
		return "report it, with this message, and start the node again"
	default:
		return "look at the disk and the system's log for its cause, and start the node again"
	}
}
