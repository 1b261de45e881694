package tidemark_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A floor is a package of this module and what must never be in its closure of
// imports. The bans are transitive, so a detour over another package is found too.
type floor struct {
	packages string
	bans     []ban
}

type ban struct {
	path string
	why  string
}

const (
	pebblePath = "github.com/cockroachdb/pebble"
	raftPath   = "github.com/hashicorp/raft"
	grpcPath   = "google.golang.org/grpc"
)

var floors = []floor{
	{"tidemark", []ban{
		{"tidemark/", "the words stand on nothing but the standard library; move the code to the floor that it is about"},
		{".", "the words stand on nothing but the standard library; a dependency here is a dependency of everything"},
	}},
	{"tidemark/pebblestore/...", []ban{
		{"tidemark/fsm", "the store does not know who writes to it"},
		{"tidemark/raftnode", "the store does not know Raft; pass an index in tidemark.Applied"},
		{"tidemark/rpc", "the store does not know the API; return the words of package tidemark"},
		{raftPath, "the store does not know Raft"},
		{grpcPath, "the store does not know gRPC"},
	}},
	{"tidemark/fsm/...", []ban{
		{"tidemark/raftnode", "the state machine takes committed entries from whoever has them; it satisfies raftnode.StateMachine by its methods"},
		{"tidemark/rpc", "commands have an encoding of their own, so that the API can change without the log"},
		{raftPath, "the state machine is handed tidemark.Entry"},
		{grpcPath, "the state machine knows no network"},
	}},
	{"tidemark/raftnode/...", []ban{
		{"tidemark/fsm", "a Raft node does not know what a message is; it drives a raftnode.StateMachine"},
		{"tidemark/pebblestore", "a Raft node does not know how state is stored"},
		{"tidemark/rpc", "what nodes say to each other is in raftnode/peer"},
		{pebblePath, "a Raft node does not know how state is stored"},
	}},
	{"tidemark/rpc/tidemarkv1", []ban{
		{"tidemark/fsm", "clients import the generated API; no server code may come with it"},
		{"tidemark/raftnode", "clients import the generated API; no server code may come with it"},
	}},
	{"tidemark/jepsen/cmd/...", []ban{
		{"tidemark/fsm", "the harness sees a cluster as its users do, or it would believe what it should check; only jepsen/sim runs the floors"},
		{"tidemark/pebblestore", "the harness sees a cluster as its users do, or it would believe what it should check; only jepsen/sim runs the floors"},
		{"tidemark/raftnode", "the harness sees a cluster as its users do, or it would believe what it should check; only jepsen/sim runs the floors"},
	}},
	{"tidemark/client", []ban{
		{"tidemark/fsm", "the SDK is for other people's programs; no server code may come with it"},
		{"tidemark/pebblestore", "the SDK is for other people's programs; no server code may come with it"},
		{"tidemark/raftnode", "the SDK is for other people's programs; no server code may come with it"},
		{pebblePath, "the SDK is for other people's programs; no server code may come with it"},
		{raftPath, "the SDK is for other people's programs; no server code may come with it"},
	}},
}

// direct bans hold for a package's own imports only: what lies below may use them.
var direct = []floor{
	{"tidemark/rpc", []ban{
		{"tidemark/pebblestore", "rpc reads through its own interface Store"},
		{pebblePath, "rpc does not know Pebble"},
		{raftPath, "rpc does not know hashicorp/raft; raftnode translates"},
	}},
	{"tidemark/cmd/...", []ban{
		{pebblePath, "pebblestore translates Pebble into the words"},
		{raftPath, "raftnode translates hashicorp/raft into the words"},
	}},
}

// Arrows point down only. This test says what each floor must not import, why, and
// what to do instead.
func TestImportFloors(t *testing.T) {
	for _, floor := range floors {
		check(t, floor, "{{range .Deps}}{{.}} {{end}}", "reaches")
	}
	for _, floor := range direct {
		check(t, floor, "{{range .Imports}}{{.}} {{end}}", "imports")
	}
}

func check(t *testing.T, floor floor, format, verb string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} "+format, floor.packages).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", floor.packages, err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		importer, imports := fields[0], fields[1:]
		for _, ban := range floor.bans {
			if found := slices.IndexFunc(imports, ban.matches); found >= 0 {
				t.Errorf("%s %s %s: %s", importer, verb, imports[found], ban.why)
			}
		}
	}
}

// matches reports whether path is the banned package or below it. The path "."
// bans everything outside the standard library, whose paths have no dot in their
// first element, and the path that ends in "/" bans only what is below it.
func (b ban) matches(path string) bool {
	switch {
	case b.path == ".":
		first, _, _ := strings.Cut(path, "/")
		return strings.Contains(first, ".") && !strings.HasPrefix(path, "vendor/")
	case strings.HasSuffix(b.path, "/"):
		return strings.HasPrefix(path, b.path)
	}
	return path == b.path || strings.HasPrefix(path, b.path+"/")
}
