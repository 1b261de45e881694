package raftnode

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
)

var threeMembers = raft.Configuration{Servers: []raft.Server{
	{Suffrage: raft.Voter, ID: "n1", Address: "a:1"},
	{Suffrage: raft.Voter, ID: "n2", Address: "a:2"},
	{Suffrage: raft.Nonvoter, ID: "n3", Address: "a:3"},
}}

// fatalPanic is a Fatal that unwinds the stack, so that a test sees it.
type fatalPanic struct{ err error }

func testAdapter(m *fakeMachine) *fsmAdapter {
	cfg := DefaultConfig()
	cfg.Machine, cfg.EncodeEntry, cfg.Noop, cfg.Metrics = m, encodeFake, fakeNoop, NewMetrics(nil)
	cfg.Logger = raftDiscard
	cfg.Fatal = func(err error) { panic(fatalPanic{err}) }
	keep := newRetention(time.Hour, 1<<30)
	store := newSnapshotStore(&cfg, keep)
	return newFSMAdapter(&cfg, store, keep)
}

func commandLog(index, term, fence uint64, commands ...string) *raft.Log {
	var raw [][]byte
	for _, c := range commands {
		raw = append(raw, []byte(c))
	}
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: sealEntry(fence, encodeFake(time.Unix(1, 0), raw))}
}

func configLog(index, term uint64, c raft.Configuration) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
}

func TestAdapterAppliesCommandsAndConfigurations(t *testing.T) {
	m := newFakeMachine()
	f := testAdapter(m)
	var told []raft.Configuration
	f.onMembership = func(c raft.Configuration) { told = append(told, c) }
	progress := f.progress()
	answers := f.ApplyBatch([]*raft.Log{configLog(1, 1, threeMembers), commandLog(3, 2, 2, "a", "b"), commandLog(4, 2, 2, "c")})
	if got := answers[1].(applied).results; !slices.Equal(got, []any{1, 2}) {
		t.Errorf("results are %v", got)
	}
	if got := m.commands(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("applied %v", got)
	}
	a := m.Applied()
	if a.Index != 4 || a.Term != 2 || a.MembershipIndex != 1 || len(told) != 1 || len(told[0].Servers) != 3 {
		t.Errorf("record %+v, told of %v", a, told)
	}
	select {
	case <-progress:
	default:
		t.Error("progress was not announced")
	}
}

// An entry that is stamped with another term than the one that proposed it is void
// on every replica, and the state machine still comes to its index.
func TestAdapterVoidsFencedEntries(t *testing.T) {
	m := newFakeMachine()
	f := testAdapter(m)
	answers := f.ApplyBatch([]*raft.Log{configLog(1, 1, threeMembers), commandLog(2, 5, 4, "stale"), commandLog(3, 5, 5, "good")})
	if !answers[1].(applied).void || answers[2].(applied).void {
		t.Errorf("answers are %v", answers)
	}
	if got := m.commands(); !slices.Equal(got, []string{"good"}) || m.Applied().Index != 3 {
		t.Errorf("applied %v up to %d", got, m.Applied().Index)
	}
}

func TestAdapterStopsAtWhatItCannotRead(t *testing.T) {
	for name, l := range map[string]*raft.Log{
		"short":     {Index: 2, Term: 1, Type: raft.LogCommand, Data: []byte{1, 2}},
		"version 0": {Index: 2, Term: 1, Type: raft.LogCommand, Data: make([]byte, 20)},
		"newer":     {Index: 2, Term: 1, Type: raft.LogCommand, Data: append([]byte{99}, make([]byte, 20)...)},
		"type":      {Index: 2, Term: 1, Type: raft.LogBarrier},
	} {
		t.Run(name, func(t *testing.T) {
			m := newFakeMachine()
			f := testAdapter(m)
			defer func() {
				stop, ok := recover().(fatalPanic)
				if !ok || stop.err == nil {
					t.Fatal("the process went on")
				}
				if name == "newer" && !errors.Is(stop.err, tidemark.ErrNewerFormat) {
					t.Errorf("stopped with %v", stop.err)
				}
				if m.Applied().Index != 0 {
					t.Errorf("entries beside it were applied up to %d", m.Applied().Index)
				}
			}()
			f.ApplyBatch([]*raft.Log{configLog(1, 1, threeMembers), l})
		})
	}
}

func TestSealAndOpen(t *testing.T) {
	data := sealEntry(1<<40, []byte("commands"))
	fence, body, err := openEntry(data)
	if err != nil || fence != 1<<40 || string(body) != "commands" {
		t.Fatal(fence, string(body), err)
	}
	if want := "\x01\x00\x00\x01\x00\x00\x00\x00\x00commands"; string(data) != want {
		t.Fatalf("the format changed: %x", data)
	}
}

func FuzzOpenEntry(f *testing.F) {
	f.Add(sealEntry(7, []byte("x")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		fence, body, err := openEntry(data)
		if err == nil && data[0] == entryVersion && string(sealEntry(fence, body)) != string(data) {
			t.Fatalf("%x does not come back", data)
		}
	})
}

func TestLocalSnapshotMakesDurable(t *testing.T) {
	m := newFakeMachine()
	f := testAdapter(m)
	f.ApplyBatch([]*raft.Log{configLog(1, 1, threeMembers), commandLog(2, 1, 1, "a")})
	snapshot, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	sink, err := f.store.Create(1, 2, 1, threeMembers, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(snapshot.Persist(sink), sink.Close()); err != nil {
		t.Fatal(err)
	}
	if m.DurableIndex() != 2 {
		t.Fatalf("durable up to %d", m.DurableIndex())
	}
	list, err := f.store.List()
	if err != nil || len(list) != 1 || list[0].Index != 2 || list[0].ConfigurationIndex != 1 || len(list[0].Configuration.Servers) != 3 {
		t.Fatal(list, err)
	}
}

func TestListIsEmptyWithoutState(t *testing.T) {
	f := testAdapter(newFakeMachine())
	if list, err := f.store.List(); err != nil || len(list) != 0 {
		t.Fatal(list, err)
	}
}

// transfer sends the state of one adapter to another as Raft does, up to the step
// that is given, and returns the error of Restore.
func transferSnapshot(t *testing.T, from, to *fsmAdapter, steps int) error {
	t.Helper()
	meta, source, err := from.store.Open(currentID)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	sink, err := to.store.Create(meta.Version, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	if err != nil {
		t.Fatal(err)
	}
	if steps--; steps < 0 {
		return nil
	}
	if n, err := io.Copy(sink, source); err != nil || n != meta.Size {
		t.Fatal(n, meta.Size, err)
	}
	if steps--; steps < 0 {
		return nil
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if steps--; steps < 0 {
		return nil
	}
	got, empty, err := to.store.Open(sink.ID())
	if err != nil || got.Index != meta.Index || got.Size != meta.Size {
		t.Fatal(got, err)
	}
	defer empty.Close()
	if steps--; steps < 0 {
		return nil
	}
	return to.Restore(empty)
}

func sourceAdapter() *fsmAdapter {
	from := testAdapter(newFakeMachine())
	from.ApplyBatch([]*raft.Log{configLog(1, 1, threeMembers), commandLog(2, 1, 1, "a"), commandLog(5, 2, 2, "b", "c")})
	return from
}

// The process can end between any two steps of an install: it finds the old state
// or the new, and List never speaks of another.
func TestInstallIsAllOrNothing(t *testing.T) {
	for steps := range 5 {
		m := newFakeMachine()
		to := testAdapter(m)
		to.ApplyBatch([]*raft.Log{configLog(1, 1, threeMembers)})
		if err := m.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := transferSnapshot(t, sourceAdapter(), to, steps); err != nil {
			t.Fatal(err)
		}
		m.crash()
		after := testAdapter(m)
		list, err := after.store.List()
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		want := uint64(1)
		if steps == 4 {
			want = 5
		}
		if a := m.Applied(); a.Index != want || list[0].Index != want {
			t.Errorf("after %d steps: applied %d, listed %d, want %d", steps, a.Index, list[0].Index, want)
		}
	}
}

func TestInstallEndsTheProcessWhenItFails(t *testing.T) {
	m := newFakeMachine()
	m.beforeInstall = func() error { return errors.New("no room") }
	to := testAdapter(m)
	defer func() {
		if _, ok := recover().(fatalPanic); !ok {
			t.Fatal("the process went on after a failed restore")
		}
	}()
	_ = transferSnapshot(t, sourceAdapter(), to, 5)
}

func TestRestoreWithoutASnapshotEndsTheProcess(t *testing.T) {
	f := testAdapter(newFakeMachine())
	defer func() {
		if _, ok := recover().(fatalPanic); !ok {
			t.Fatal("the process went on")
		}
	}()
	_ = f.Restore(io.NopCloser(emptyReader{}))
}

func TestDamagedSnapshotIsRefused(t *testing.T) {
	from, to := sourceAdapter(), testAdapter(newFakeMachine())
	meta, source, err := from.store.Open(currentID)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(source)
	if err != nil || source.Close() != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte, *raft.SnapshotMeta) []byte{
		"flipped bit": func(b []byte, _ *raft.SnapshotMeta) []byte { b[len(b)/2] ^= 1; return b },
		"cut":         func(b []byte, _ *raft.SnapshotMeta) []byte { return b[:len(b)-1] },
		"other index": func(b []byte, m *raft.SnapshotMeta) []byte { m.Index++; return b },
		"other term":  func(b []byte, m *raft.SnapshotMeta) []byte { m.Term++; return b },
	} {
		m := *meta
		bytes := damage(slices.Clone(data), &m)
		sink, err := to.store.Create(m.Version, m.Index, m.Term, m.Configuration, m.ConfigurationIndex, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write(bytes); err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if !sink.(*snapshotSink).writer.(*fakeIncoming).aborted {
			t.Errorf("%s: what was received is left behind", name)
		}
	}
	sink, _ := to.store.Create(1, 9, 9, threeMembers, 1, nil)
	if err := sink.Close(); err == nil {
		t.Error("an empty snapshot was accepted")
	}
}

func TestOlderSnapshotIsRefused(t *testing.T) {
	to := testAdapter(newFakeMachine())
	to.ApplyBatch([]*raft.Log{configLog(1, 1, threeMembers), commandLog(7, 2, 2, "x")})
	sink, err := to.store.Create(1, 5, 2, threeMembers, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write([]byte("x")); err == nil {
		t.Fatal("a snapshot that takes the state back was accepted")
	}
}

// Entries that Raft had handed over before the snapshot can be applied while it comes.
func TestSnapshotThatWasPassedIsDropped(t *testing.T) {
	for name, last := range map[string]*raft.Log{"": commandLog(9, 2, 2, "x"), "members": configLog(9, 2, threeMembers)} {
		t.Run(name, func(t *testing.T) {
			from, to := sourceAdapter(), testAdapter(newFakeMachine())
			var stopped error
			to.fatal = func(err error) { stopped = err }
			if err := transferSnapshot(t, from, to, 3); err != nil { // all but Restore
				t.Fatal(err)
			}
			to.ApplyBatch([]*raft.Log{configLog(1, 1, threeMembers), commandLog(2, 1, 1, "a"), last})
			err := to.Restore(io.NopCloser(emptyReader{}))
			if got := to.machine.Applied(); got.Index != 9 || got.InstalledIndex != 0 {
				t.Fatalf("the state went back to %d", got.Index)
			}
			if restart := name == "members"; errors.Is(err, ErrRestart) != restart || errors.Is(stopped, ErrRestart) != restart {
				t.Fatal(err, stopped)
			}
		})
	}
}

func TestManyInstallsRaiseTheAlarm(t *testing.T) {
	f := testAdapter(newFakeMachine())
	now := time.Now()
	for i := range 5 {
		f.store.countInstall(now.Add(time.Duration(i) * 25 * time.Second))
	}
	if got := counterValue(t, f.metrics.installAlarms); got != 0 {
		t.Fatalf("%v alarms for an install every 25 seconds", got)
	}
	for i := range 5 {
		f.store.countInstall(now.Add(time.Hour + time.Duration(i)*time.Second))
	}
	if got := counterValue(t, f.metrics.installAlarms); got != 2 {
		t.Fatalf("%v alarms for 5 installs in a minute", got)
	}
}

func TestStreamsHoldTheLogAndAreReleased(t *testing.T) {
	f := sourceAdapter()
	now := time.Unix(1000, 0)
	f.retention.now = func() time.Time { return now }
	f.retention.restart(0)
	f.retention.keepTime, f.retention.keepBytes = time.Second, 1
	_, one, err := f.store.Open(currentID)
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := f.store.Open(currentID)
	if err != nil {
		t.Fatal(err)
	}
	f.ApplyBatch([]*raft.Log{commandLog(9, 2, 2, "d")})
	now = now.Add(10 * time.Second)
	f.ApplyBatch([]*raft.Log{commandLog(10, 2, 2, "e")})
	if got := f.retention.deletable(100); got != 5 {
		t.Fatalf("deletable up to %d while a snapshot of 5 is being read", got)
	}
	if !f.store.sending() || f.machine.(*fakeMachine).open != 2 {
		t.Fatal("two streams are not open")
	}
	if err := errors.Join(one.Close(), one.Close(), two.Close()); err != nil {
		t.Fatal(err)
	}
	if f.store.sending() || f.machine.(*fakeMachine).open != 0 {
		t.Fatal("streams are left open")
	}
	now = now.Add(holdTime + time.Second)
	if got := f.retention.deletable(100); got != 10 {
		t.Fatalf("deletable up to %d long after", got)
	}
}
