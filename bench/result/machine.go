package result

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what was measured on.
type Machine struct {
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	Memory    int64  `json:"memory_bytes"`
	// FileSystem is that of the servers' data.
	FileSystem string `json:"file_system"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
}

// ThisMachine describes the machine; dir is where the servers' data is.
func ThisMachine(dir string) (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	var err error
	if m.Processor, err = line("/proc/cpuinfo", "model name"); err != nil {
		m.Processor = runtime.GOARCH // not every architecture names its model
	}
	total, err := line("/proc/meminfo", "MemTotal")
	if err != nil {
		return m, err
	}
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(total, " kB"), 10, 64)
	if err != nil {
		return m, err
	}
	m.Memory = kilobytes << 10
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return m, err
	}
	m.Kernel = strings.TrimSpace(string(kernel))
	m.FileSystem, err = fileSystem(dir)
	return m, err
}

// line is what stands behind the name and a colon in a file.
func line(path, name string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s has no %s", path, name)
}

// fileSystem is the type of the file system that holds the directory.
func fileSystem(dir string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	kind, longest := "", -1
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		mount := fields[1]
		if below := strings.TrimSuffix(mount, "/") + "/"; strings.HasPrefix(dir+"/", below) && len(mount) >= longest {
			kind, longest = fields[2], len(mount)
		}
	}
	if kind == "" {
		return "", fmt.Errorf("no mount holds %s", dir)
	}
	return kind, nil
}
