package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the module's directory, as seen from this package.
const root = "../.."

// The clients' addresses that the README names.
var readmeAddresses = []string{"127.0.0.1:7400", "127.0.0.1:7410", "127.0.0.1:7420"}

func readRoot(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every command of the README works as pasted, in order, on one cluster. Addresses
// are exchanged for those of the test's cluster. The make targets are run by CI,
// and here it is only seen that they exist.
func TestReadmeCommands(t *testing.T) {
	readme := readRoot(t, "README.md")
	makefile := readRoot(t, "Makefile")
	grpcurl := filepath.Join(t.TempDir(), "grpcurl")
	build := exec.Command("go", "build", "-modfile=tools/go.mod", "-o", grpcurl, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build grpcurl: %v\n%s", err, out)
	}
	c := start(t, 3)
	replace := make([]string, 0, 2*len(readmeAddresses)+4)
	for i, node := range c.Nodes {
		replace = append(replace, readmeAddresses[i], node.Listen)
	}
	replace = append(replace, "bin/tidemark", program, "grpcurl -", grpcurl+" -")
	commands := regexp.MustCompile(`(?m)^\$ (.+)$`).FindAllStringSubmatch(readme, -1)
	if len(commands) < 8 {
		t.Fatalf("found only %d commands in the README", len(commands))
	}
	for _, match := range commands {
		line := match[1]
		if target, ok := strings.CutPrefix(line, "make "); ok {
			if !strings.Contains(makefile, "\n"+target+":") {
				t.Errorf("%s: there is no such target", line)
			}
			continue
		}
		cmd := exec.Command("sh", "-c", strings.NewReplacer(replace...).Replace(line))
		cmd.Env = append(os.Environ(), "TIDEMARK_ENDPOINTS="+strings.Join(c.Endpoints(), ","))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

// The README's program is examples/hello, and that runs.
func TestReadmeProgram(t *testing.T) {
	example := readRoot(t, "examples/hello/main.go")
	_, program, _ := strings.Cut(example, "package main")
	if !strings.Contains(readRoot(t, "README.md"), "```go\npackage main"+program+"```\n") {
		t.Error("the program in the README is not that of examples/hello/main.go")
	}
	c := start(t, 3)
	for i, node := range c.Nodes {
		example = strings.ReplaceAll(example, readmeAddresses[i], node.Listen)
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", file)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("1 alice: hello\n")) {
		t.Errorf("%v\n%s", err, out)
	}
}
