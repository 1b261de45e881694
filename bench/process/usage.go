package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what processes and their children, living and dead, have used since they started.
type Usage struct {
	// Processor is the time on processors, and Written what they caused to be written to disks.
	Processor time.Duration
	Written   int64
}

// Since is what was used after before.
func (u Usage) Since(before Usage) Usage {
	return Usage{Processor: u.Processor - before.Processor, Written: u.Written - before.Written}
}

// tick is the unit of times in /proc on all of Linux's platforms that Go knows.
const tick = 10 * time.Millisecond

// ReadUsage adds up what the processes and all their descendants have used.
func ReadUsage(pids []int) (Usage, error) {
	children, err := childrenOf()
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	for _, root := range pids {
		for _, pid := range tree(root, children) {
			one, err := usageOf(pid)
			if pid != root && gone(err) {
				continue // it is counted as a dead child next time
			}
			if err != nil {
				return Usage{}, fmt.Errorf("what process %d uses: %w", pid, err)
			}
			u.Processor += one.Processor
			u.Written += one.Written
		}
	}
	return u, nil
}

// LargestMemory is the resident memory of the largest of the nodes. Of a node that is several
// processes, pages that they share are counted once.
func LargestMemory(pids []int) (int64, error) {
	children, err := childrenOf()
	if err != nil {
		return 0, err
	}
	largest := int64(0)
	for _, root := range pids {
		node, field, file := int64(0), "VmRSS:", "status"
		members := tree(root, children)
		if len(members) > 1 {
			field, file = "Pss:", "smaps_rollup"
		}
		for _, pid := range members {
			kilobytes, err := readField(pid, file, field)
			if pid != root && gone(err) {
				continue
			}
			if err != nil {
				return 0, fmt.Errorf("memory of process %d: %w", pid, err)
			}
			node += kilobytes << 10
		}
		largest = max(largest, node)
	}
	return largest, nil
}

func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// tree is a process and its descendants.
func tree(root int, children map[int][]int) []int {
	members := []int{root}
	for i := 0; i < len(members); i++ {
		members = append(members, children[members[i]]...)
	}
	return members
}

// childrenOf maps each process to its children.
func childrenOf() (map[int][]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		fields, err := statFields(pid)
		if err != nil {
			continue // it has ended meanwhile
		}
		parent, err := strconv.Atoi(fields[statParent])
		if err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], pid)
	}
	return children, nil
}

// Places in /proc/PID/stat behind the name.
const (
	statParent  = 1
	statTimes   = 11
	statTimeEnd = 15 // user, system, and both of the children that were waited for
)

// statFields are those behind the name, which is in parentheses and may hold anything.
func statFields(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < statTimeEnd {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

func usageOf(pid int) (Usage, error) {
	fields, err := statFields(pid)
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	for _, field := range fields[statTimes:statTimeEnd] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Usage{}, err
		}
		u.Processor += time.Duration(ticks) * tick
	}
	// It holds what dead children wrote, too.
	u.Written, err = readField(pid, "io", "write_bytes:")
	return u, err
}

// readField is the number behind a name in a file of /proc/PID.
func readField(pid int, file, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/%s has no %s", pid, file, name)
}
