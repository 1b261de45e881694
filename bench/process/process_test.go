package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func shell(t *testing.T, group *Group, script string) *Process {
	t.Helper()
	p, err := group.Start(Command{Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What children use, living and dead, is counted with their parent.
func TestUsageOfATree(t *testing.T) {
	var group Group
	done := filepath.Join(t.TempDir(), "done")
	busy := "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
	p := shell(t, &group, fmt.Sprintf("(%s); touch %s; (%s; sleep 60); sleep 60", busy, done, busy))
	defer func() {
		if err := group.Stop(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}()
	if err := p.WaitReady(t.Context(), func(context.Context) error { _, err := os.Stat(done); return err }); err != nil {
		t.Fatal(err)
	}
	first, err := ReadUsage(group.PIDs())
	if err != nil {
		t.Fatal(err)
	}
	if first.Processor < 20*time.Millisecond {
		t.Errorf("a dead child that was busy used %v", first.Processor)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		second, err := ReadUsage(group.PIDs())
		if err != nil {
			t.Fatal(err)
		}
		if second.Since(first).Processor >= 20*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a living child that is busy used %v", second.Since(first).Processor)
		}
	}
	memory, err := LargestMemory(group.PIDs())
	if err != nil || memory < 50<<10 {
		t.Errorf("memory %d, %v", memory, err)
	}
}

func TestWaitReadyTellsOfTheEnd(t *testing.T) {
	var group Group
	p := shell(t, &group, "echo no such option; exit 3")
	err := p.WaitReady(t.Context(), func(context.Context) error { return errors.New("refused") })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such option") {
		t.Errorf("%v", err)
	}
}

func TestStopByForce(t *testing.T) {
	var group Group
	ready := filepath.Join(t.TempDir(), "ready")
	p := shell(t, &group, "trap '' TERM; touch "+ready+"; while true; do sleep 1; done")
	if err := p.WaitReady(t.Context(), func(context.Context) error { _, err := os.Stat(ready); return err }); err != nil {
		t.Fatal(err)
	}
	if err := group.Stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("it lives: %v", err)
	}
}

func TestFreeAddresses(t *testing.T) {
	addresses, err := FreeAddresses(5)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, address := range addresses {
		seen[address] = true
	}
	if len(seen) != 5 {
		t.Errorf("%v", addresses)
	}
}
