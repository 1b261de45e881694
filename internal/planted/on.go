//go:build plantedbugs

package planted

import (
	"fmt"
	"os"
	"slices"
)

var chosen = choose()

// choose ends the process if it is asked for a bug that does not exist: a search
// for it would find nothing, and say so.
func choose() Bug {
	bug := Bug(os.Getenv(Variable))
	if bug == "" {
		return ""
	}
	if !slices.Contains(All(), bug) {
		fmt.Fprintf(os.Stderr, "tidemark: %s=%s: there is no such bug; there are %v\n", Variable, bug, All())
		os.Exit(2)
	}
	fmt.Fprintf(os.Stderr, "tidemark: this process has a bug on purpose: %s\n", bug)
	return bug
}

// Is reports whether the bug is planted in this process.
func Is(bug Bug) bool { return chosen == bug }
