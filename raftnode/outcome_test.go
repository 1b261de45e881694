package raftnode

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"tidemark"
)

// outcomes says of every error of the library what it means for an entry.
var outcomes = map[string]struct {
	err  error
	want error
}{
	"ErrNotLeader":                    {raft.ErrNotLeader, tidemark.ErrNotLeader},
	"ErrLeadershipTransferInProgress": {raft.ErrLeadershipTransferInProgress, tidemark.ErrNotLeader},
	"ErrEnqueueTimeout":               {raft.ErrEnqueueTimeout, tidemark.ErrOverloaded},

	"ErrLeadershipLost":                  {raft.ErrLeadershipLost, tidemark.ErrOutcomeUnknown},
	"ErrRaftShutdown":                    {raft.ErrRaftShutdown, tidemark.ErrOutcomeUnknown},
	"ErrAbortedByRestore":                {raft.ErrAbortedByRestore, tidemark.ErrOutcomeUnknown},
	"ErrLogNotFound":                     {raft.ErrLogNotFound, tidemark.ErrOutcomeUnknown},
	"ErrLeader":                          {raft.ErrLeader, tidemark.ErrOutcomeUnknown},
	"ErrNotVoter":                        {raft.ErrNotVoter, tidemark.ErrOutcomeUnknown},
	"ErrNothingNewToSnapshot":            {raft.ErrNothingNewToSnapshot, tidemark.ErrOutcomeUnknown},
	"ErrUnsupportedProtocol":             {raft.ErrUnsupportedProtocol, tidemark.ErrOutcomeUnknown},
	"ErrCantBootstrap":                   {raft.ErrCantBootstrap, tidemark.ErrOutcomeUnknown},
	"ErrIncompatibleLogStore":            {raft.ErrIncompatibleLogStore, tidemark.ErrOutcomeUnknown},
	"ErrTransportShutdown":               {raft.ErrTransportShutdown, tidemark.ErrOutcomeUnknown},
	"ErrPipelineShutdown":                {raft.ErrPipelineShutdown, tidemark.ErrOutcomeUnknown},
	"ErrPipelineReplicationNotSupported": {raft.ErrPipelineReplicationNotSupported, tidemark.ErrOutcomeUnknown},
}

func TestOutcomes(t *testing.T) {
	for name, o := range outcomes {
		if got := outcome(o.err); !errors.Is(got, o.want) {
			t.Errorf("%s is %v, want %v", name, got, o.want)
		}
		if o.err == nil {
			continue
		}
		if got := outcome(fmt.Errorf("wrapped: %w", o.err)); !errors.Is(got, o.want) {
			t.Errorf("wrapped %s is %v, want %v", name, got, o.want)
		}
	}
	disk := errors.New("unable to store logs within log store, err: disk")
	if got := outcome(disk); !errors.Is(got, tidemark.ErrOutcomeUnknown) || !errors.Is(got, disk) {
		t.Errorf("an error of a store is %v", got)
	}
}

// A new version of the library may bring new errors: each must be thought about.
func TestOutcomesListEveryErrorOfTheLibrary(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/hashicorp/raft").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok != token.VAR {
				continue
			}
			for _, spec := range vars.Specs {
				for _, ident := range spec.(*ast.ValueSpec).Names {
					if _, known := outcomes[ident.Name]; strings.HasPrefix(ident.Name, "Err") && !known {
						t.Errorf("%s of %s is not in the table", ident.Name, filepath.Base(name))
					}
				}
			}
		}
	}
}
