//go:build linux

package disk

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// killPoll is how long a killed process waits for an operation that is held up.
const killPoll = 5 * time.Millisecond

// killed is closed when the thread that asked for the operation was killed. The
// kernel tells of every signal, and Go sends itself many; the calls of a disk are
// not interrupted by any but the one that ends the process.
func killed(ctx context.Context) (<-chan struct{}, func()) {
	over, stop := make(chan struct{}), make(chan struct{})
	go func() {
		select {
		case <-stop:
			return
		case <-ctx.Done():
		}
		caller, ok := fuse.FromContext(ctx)
		for poll := time.NewTicker(killPoll); ; {
			if !ok || doomed(caller.Pid) {
				close(over)
				return
			}
			select {
			case <-stop:
				poll.Stop()
				return
			case <-poll.C:
			}
		}
	}()
	return over, func() { close(stop) }
}

// doomed reports whether the thread is gone, or has SIGKILL pending.
func doomed(thread uint32) bool {
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return true
	}
	defer status.Close()
	lines := bufio.NewScanner(status)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":\t")
		switch name {
		case "State":
			if strings.HasPrefix(value, "Z") || strings.HasPrefix(value, "X") {
				return true
			}
		case "SigPnd", "ShdPnd":
			// A mask in hexadecimal, signal 1 the lowest bit.
			if mask, err := strconv.ParseUint(value, 16, 64); err == nil && mask&(1<<(syscall.SIGKILL-1)) != 0 {
				return true
			}
		}
	}
	// A thread that went away meanwhile reads as an error.
	return lines.Err() != nil
}
