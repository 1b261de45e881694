package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/exit"
)

// configured runs a command line of `read` up to where it would connect, and returns
// the values that it then has.
func configured(t *testing.T, file string, env map[string]string, args ...string) (values map[string]string, err error) {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
	if file != "" {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	a := &app{Streams: Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}}
	root := a.root()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "serve" {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error {
				values = map[string]string{"endpoints": strings.Join(a.global.endpoints, " ")}
				for _, name := range []string{"output", "node-id", "initial-cluster", "disk-reserve", "timeout"} {
					values[name] = cmd.Flag(name).Value.String()
				}
				return nil
			}
		}
	}
	root.SetArgs(append([]string{"serve"}, args...))
	return values, root.ExecuteContext(context.Background())
}

// A flag goes before the environment, that before the file, and that before the default.
func TestPrecedence(t *testing.T) {
	const file = "output: json\nnode-id: from-file\ntimeout: 3s\n"
	env := map[string]string{"TIDEMARK_OUTPUT": "jsonl", "TIDEMARK_NODE_ID": "from-env"}
	values, err := configured(t, file, env, "--node-id", "from-flag")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"node-id": "from-flag", "output": "jsonl", "timeout": "3s", "disk-reserve": "256MiB", "endpoints": "127.0.0.1:7400",
	} {
		if values[name] != want {
			t.Errorf("%s is %q, want %q", name, values[name], want)
		}
	}
}

func TestListsInTheFile(t *testing.T) {
	for _, file := range []string{
		"endpoints: [a:1, b:2]\ninitial-cluster: [N1=a:1, n2=b:2]\ndisk-reserve: 1.5GiB\n",
		"endpoints: a:1,b:2\ninitial-cluster: N1=a:1,n2=b:2\ndisk-reserve: 1536MiB\n",
	} {
		values, err := configured(t, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if values["endpoints"] != "a:1 b:2" || values["initial-cluster"] != "[N1=a:1,n2=b:2]" || values["disk-reserve"] != "1536MiB" {
			t.Errorf("got %v", values)
		}
	}
}

func TestBadConfigurationIsAUsageError(t *testing.T) {
	for _, test := range []struct {
		file string
		env  map[string]string
		args []string
		want string
	}{
		{file: "nodeid: n1\n", want: `unknown key "nodeid"`},
		{file: "help: true\n", want: `unknown key "help"`},
		{file: "initial-cluster: {N1: a:1}\n", want: "not a map"},
		{file: "timeout: soon\n", want: "timeout in "},
		{file: "\tx", want: "--config"},
		{env: map[string]string{"TIDEMARK_TIMEOUT": "soon"}, want: "TIDEMARK_TIMEOUT"},
		{env: map[string]string{"TIDEMARK_DISK_RESERVE": "-1"}, want: "TIDEMARK_DISK_RESERVE"},
		{args: []string{"--config", "/nonexistent.yaml"}, want: "/nonexistent.yaml"},
		{args: []string{"--output", "xml"}, want: "--output must be table, json or jsonl"},
		{args: []string{"--log-level", "loud"}, want: "--log-level must be"},
		{args: []string{"--log-format", "xml"}, want: "--log-format must be"},
		{args: []string{"--timeout", "0"}, want: "--timeout must be positive"},
		{args: []string{"--nonsense"}, want: "unknown flag"},
		{args: []string{"argument"}, want: "unknown command"},
	} {
		t.Run(test.want, func(t *testing.T) {
			_, err := configured(t, test.file, test.env, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) || exit.Status(err) != exit.Usage {
				t.Errorf("got %v, want %q as a usage error", err, test.want)
			}
		})
	}
}

// Every command says what it is for, and takes no more arguments than it has.
func TestEveryCommandIsDescribed(t *testing.T) {
	a := &app{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s says nothing", cmd.CommandPath())
		}
		if !cmd.HasSubCommands() && cmd.Args == nil && !slices.Contains([]string{"timelines", "help"}, cmd.Name()) {
			t.Errorf("%s takes any arguments", cmd.CommandPath())
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(a.root())
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "4096": 4096, "12B": 12, "1KiB": 1024, "1.5GiB": 3 << 29, "2 TiB": 2 << 40} {
		var size byteSize
		if err := size.Set(text); err != nil || uint64(size) != want {
			t.Errorf("%s: got %d, %v", text, size, err)
		}
		var again byteSize
		if err := again.Set(size.String()); err != nil || again != size {
			t.Errorf("%s is shown as %s", text, size.String())
		}
	}
	for _, text := range []string{"", "x", "-1", "1GB", "NaN", "Inf", "1e30", "KiB"} {
		var size byteSize
		if err := size.Set(text); err == nil {
			t.Errorf("%q is taken for %d", text, size)
		}
	}
}
