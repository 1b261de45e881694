package planted_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tidemark/internal/planted"
)

// traces are what a program with planted bugs holds: the name of the variable, those
// of the bugs, and code that only a bug uses.
func traces() [][]byte {
	all := [][]byte{[]byte(planted.Variable), []byte("logstore.(*log).syncLate"), []byte("pebblestore.(*Store).overwrite")}
	for _, bug := range planted.All() {
		all = append(all, []byte(bug))
	}
	return all
}

// An ordinary build knows neither the variable nor the bugs. One with the tag has
// all of them, so that this looks for the right things.
func TestOnlyATaggedBuildHasBugs(t *testing.T) {
	for name, tags := range map[string]string{"ordinary": "", "tagged": planted.Tag} {
		t.Run(name, func(t *testing.T) {
			program := build(t, tags)
			for _, trace := range traces() {
				if has, want := bytes.Contains(program, trace), tags != ""; has != want {
					t.Errorf("that the program contains %q is %v, want %v", trace, has, want)
				}
			}
		})
	}
}

func build(t *testing.T, tags string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemark")
	if out, err := exec.Command("go", "build", "-tags", tags, "-o", path, "tidemark/cmd/tidemark").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}
