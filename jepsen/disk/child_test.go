//go:build linux

package disk

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A database runs in a child process, as it does in a node: it is killed for a power
// failure, and a process must not map files of a disk that it serves itself.
const (
	childVariable  = "DISK_TEST_DATABASE"
	dirVariable    = "DISK_TEST_DIR"
	brokenVariable = "DISK_TEST_BROKEN"
	readVariable   = "DISK_TEST_READ"
)

// database stores the records 1, 2, 3, …
type database interface {
	// put stores the next record durably.
	put(record int) error
	// all returns the records, in order, after it has checked them.
	all() ([]int, error)
	close() error
}

// databases opens the database in a directory. A broken one does not sync.
var databases = map[string]func(dir string, broken bool) (database, error){
	"bbolt": openBolt, "pebble": openPebble, "raft-wal": openWAL,
}

func TestMain(m *testing.M) {
	for name, other := range map[string]func(dir string) error{"mapped": mapped, "leave": leave} {
		if os.Getenv(childVariable) == name {
			exit(other(os.Getenv(dirVariable)))
		}
	}
	for _, known := range []map[string]func(string, bool) (database, error){databases, logs} {
		if open := known[os.Getenv(childVariable)]; open != nil {
			exit(child(open))
		}
	}
	os.Exit(run(m))
}

// buildDir holds the server that the tests build.
var buildDir string

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tidemark-disk-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	buildDir = dir
	// The tests of a server mostly wait for its first election.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child stores records until it is killed, and says so after each; or it only tells
// what there is.
func child(open func(string, bool) (database, error)) error {
	db, err := open(os.Getenv(dirVariable), os.Getenv(brokenVariable) != "")
	if err != nil {
		return err
	}
	records, err := db.all()
	if err != nil {
		return err
	}
	if os.Getenv(readVariable) != "" {
		for _, record := range records {
			fmt.Println(record)
		}
		return db.close()
	}
	for record := len(records) + 1; ; record++ {
		if err := db.put(record); err != nil {
			return err
		}
		fmt.Println(record)
	}
}

func childCommand(name, dir string, environment ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+name, dirVariable+"="+dir)
	// The race detector lets a process sleep for a second when it ends.
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// storeUntil runs a database until it has stored that many records more, kills it,
// and returns the last record that it said was stored.
func storeUntil(t testing.TB, name, dir string, more int, environment ...string) int {
	t.Helper()
	cmd := childCommand(name, dir, environment...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	last := 0
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
		if last, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
		if seen == more {
			must(t, cmd.Process.Kill())
		}
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() >= 0 {
		t.Fatalf("%s ended by itself: %v: %s", name, err, stderr.String())
	}
	return last
}

// stored returns how many records a database has, or an error if it does not open,
// or if there is a gap.
func stored(name, dir string) (int, error) {
	cmd := childCommand(name, dir, readVariable+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", name, err, stderr.String())
	}
	records := strings.Fields(string(out))
	for i, record := range records {
		if record != strconv.Itoa(i+1) {
			return 0, fmt.Errorf("%s: record %s is at %d", name, record, i+1)
		}
	}
	return len(records), nil
}
