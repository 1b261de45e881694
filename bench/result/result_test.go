package result

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"tidemark/bench/system"
)

func TestSaveAndResume(t *testing.T) {
	settings := Settings{Commit: "v1", Warmup: time.Second, Duration: 2 * time.Second}
	systems := []System{{Description: system.Description{Name: "a"}, Version: "1.0"}}
	earlier := &Report{
		Settings: settings, Systems: systems, Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Runs: []Run{{Round: 1, Work: "append-1", System: "a", Way: "x", Messages: 100}},
	}
	path := filepath.Join(t.TempDir(), "sub", "report.json")
	if missing, err := Load(path); missing != nil || err != nil {
		t.Fatalf("of no file: %v, %v", missing, err)
	}
	if err := earlier.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil || !reflect.DeepEqual(loaded, earlier) {
		t.Fatalf("got  %+v, %v\nwant %+v", loaded, err, earlier)
	}
	now := &Report{Settings: settings, Systems: systems}
	if err := now.Resume(loaded); err != nil {
		t.Fatal(err)
	}
	if !now.Done(1, "append-1", "a") || now.Done(2, "append-1", "a") || now.Done(1, "append-64", "a") || now.Date != earlier.Date {
		t.Errorf("%+v", now)
	}
	for name, change := range map[string]func(*Report){
		"duration": func(r *Report) { r.Duration = time.Minute },
		"commit":   func(r *Report) { r.Commit = "v2" },
		"machine":  func(r *Report) { r.Machine.Cores = 64 },
		"version":  func(r *Report) { r.Systems = []System{{Description: system.Description{Name: "a"}, Version: "2.0"}} },
	} {
		other := &Report{Settings: settings, Systems: systems}
		change(other)
		if err := other.Resume(loaded); err == nil {
			t.Errorf("went on in spite of another %s", name)
		}
	}
}

func TestThisMachine(t *testing.T) {
	m, err := ThisMachine(t.TempDir())
	if err != nil || m.Processor == "" || m.Cores < 1 || m.Memory < 1<<20 || m.FileSystem == "" || m.Kernel == "" {
		t.Errorf("%+v, %v", m, err)
	}
}
