//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"tidemark/jepsen/disk"
	"tidemark/jepsen/host"
)

func corruption() []named {
	return []named{
		{name: "disk-corrupt", lane: Processes, needs: []host.Feature{host.FeatureDisk},
			what: "on the disks of a minority a bit is flipped, or a file is cut short or taken back to what it was; " +
				"a node that refuses its data, or whose check finds damage, is rebuilt from the others when healed",
			inject: corrupt(kindsOfFiles)},
		{name: "log-corrupt", lane: Processes, needs: []host.Feature{host.FeatureDisk},
			what:   "disk-corrupt, but always with a bit in the Raft log",
			inject: corrupt(bitsOfTheLog)},
	}
}

// Corrupts reports whether the nemesis with this name damages files, so that those
// of its targets need not be readable.
func Corrupts(name string) bool { return name == "disk-corrupt" || name == "log-corrupt" }

// damage is what can be done to a file. Each is promised to be found before
// the node serves anything wrong, or to be without harm:
//
//   - a bit is flipped, or the end cut off, while the process does not run: by
//     checksums, and by the marks that say how far a file reached
//   - one file is taken back to an older state of its own, while the process does
//     not run: the others say that there was more. All files of a node together
//     cannot be told from an older copy of it, and are never taken back
//   - a bit is flipped under a running process, in files that are written once: when
//     it is read, or at the next start
type damage string

const (
	flipped     damage = "flipped"
	cutShort    damage = "cut short"
	takenBack   damage = "taken back"
	flippedLive damage = "flipped while it runs"
	// flippedData is flipped, in what was written to a file that is made larger in advance.
	flippedData damage = "flipped where it was written"
)

// kindOfFile is a kind of file of a node's data. Each has the same chance, however many
// files there are of it.
type kindOfFile struct {
	pattern string
	damages []damage
}

// The file of peers is not taken back: a node whose file is older than a member that
// came back under its name refuses that member, as docs/operating.md says.
var kindsOfFiles = []kindOfFile{
	{"**/raft/log.wal/*.wal", []damage{flipped, cutShort, takenBack, flippedLive}},
	{"**/raft/log.wal/*.db", []damage{flipped, cutShort, takenBack}},
	{"**/raft/log.mark", []damage{flipped, cutShort, takenBack}},
	{"**/raft/stable.db", []damage{flipped, cutShort, takenBack}},
	{"**/store/CURRENT", []damage{flipped, cutShort, takenBack}},
	{"**/store/*/MANIFEST-*", []damage{flipped, cutShort, takenBack}},
	{"**/store/*/*.sst", []damage{flipped, cutShort, flippedLive}},
	{"**/NODE", []damage{flipped, cutShort}},
	{"**/PEERS", []damage{flipped, cutShort}},
}

// bitsOfTheLog are the part of them in which a log that is not verified shows.
var bitsOfTheLog = []kindOfFile{{"**/raft/log.wal/*.wal", []damage{flippedData}}}

// corrupt damages one file of each node of a minority.
func corrupt(kinds []kindOfFile) func(context.Context, *World) (Harm, error) {
	return func(ctx context.Context, w *World) (Harm, error) { return corruptMinority(ctx, w, kinds) }
}

func corruptMinority(ctx context.Context, w *World, kinds []kindOfFile) (Harm, error) {
	nodes := w.Cluster.Nodes()
	victims := shuffled(nodes, w.Rand)[:max(1, (len(nodes)-1)/2)]
	outcome := new(string)
	harm := Harm{Target: names(victims), Outcome: outcome, Heal: func() error {
		told, err := mendAll(w, victims)
		*outcome = told
		return err
	}}
	var details []string
	for _, n := range victims {
		detail, err := damageOneFile(ctx, w, n, kinds)
		details = append(details, detail)
		harm.Detail = strings.Join(details, "; ")
		if err != nil {
			return harm, err
		}
	}
	return harm, nil
}

// damageOneFile does it, and lets the node run afterwards, if it will.
func damageOneFile(ctx context.Context, w *World, n host.Node, kinds []kindOfFile) (detail string, err error) {
	control, err := controlOf(n)
	if err != nil {
		return "", err
	}
	for _, i := range w.Rand.Perm(len(kinds)) {
		how := kinds[i].damages[w.Rand.IntN(len(kinds[i].damages))]
		detail, err = harmFile(ctx, w, n, control, kinds[i].pattern, how)
		// A node that is young does not have all of them, and some come and go.
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		break
	}
	if !n.Running() {
		err = errors.Join(err, n.Start())
	}
	return detail, err
}

func harmFile(ctx context.Context, w *World, n host.Node, control disk.Control, pattern string, how damage) (string, error) {
	told := func(d disk.Damage, what string) string { return fmt.Sprintf("%s of %s %s", d.Path, n.ID(), what) }
	switch how {
	case flippedLive:
		d, err := control.FlipBit(pattern, -1, w.Rand.Uint64())
		return told(d, fmt.Sprintf("bit %d at %d %s", d.Bit, d.Offset, how)), err
	case takenBack:
		saved, err := saveOne(w, control, pattern)
		if err != nil {
			return "", err
		}
		older := between(w, 500*time.Millisecond, 2500*time.Millisecond).Round(time.Millisecond)
		wait(ctx, older)
		if err := n.Kill(); err != nil {
			return "", err
		}
		return told(disk.Damage{Path: saved.Path}, fmt.Sprintf("%s by %v", how, older)), control.RollBack(saved)
	}
	if err := n.Kill(); err != nil {
		return "", err
	}
	if how == cutShort {
		d, err := control.Truncate(pattern, -1, w.Rand.Uint64())
		return told(d, fmt.Sprintf("%s to %d bytes", how, d.Offset)), err
	}
	offset := int64(-1)
	if how == flippedData {
		path, err := oneFile(w, control, pattern)
		if err != nil {
			return "", err
		}
		pattern, offset = path, w.Rand.Int64N(max(1, control.Stats().Files[path].WroteBytes))
	}
	d, err := control.FlipBit(pattern, offset, w.Rand.Uint64())
	return told(d, fmt.Sprintf("bit %d at %d %s", d.Bit, d.Offset, how)), err
}

// saveOne remembers one of the files that match.
func saveOne(w *World, control disk.Control, pattern string) (*disk.Saved, error) {
	path, err := oneFile(w, control, pattern)
	if err != nil {
		return nil, err
	}
	return control.Save(path)
}

func oneFile(w *World, control disk.Control, pattern string) (string, error) {
	var paths []string
	for path := range control.Stats().Files {
		if disk.Match(pattern, path) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return "", fmt.Errorf("no file matches %q: %w", pattern, fs.ErrNotExist)
	}
	slices.Sort(paths)
	return paths[w.Rand.IntN(len(paths))], nil
}

// mendTimeout bounds the time until one damaged node, or the one in its place, is whole.
const mendTimeout = 2 * time.Minute

// mendAll makes all nodes whole again, one after the other, so that there is always
// a majority that was not harmed.
func mendAll(w *World, nodes []host.Node) (outcome string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(len(nodes))*mendTimeout)
	defer cancel()
	var told []string
	for _, n := range nodes {
		text, mendErr := mend(ctx, w, n)
		told, err = append(told, text), errors.Join(err, mendErr)
	}
	return strings.Join(told, "; "), err
}

// mend does what an operator would: a node that stopped, or whose data does not pass a
// check, is rebuilt from the others. Without the check, damage that nobody has met
// yet would add up to more than a minority.
func mend(ctx context.Context, w *World, n host.Node) (outcome string, err error) {
	sound := n.Running() && n.Terminate(ctx) == nil
	if sound {
		_, err := n.Run(ctx, "check", "--data-dir", n.DataDir())
		if sound = err == nil; !sound {
			outcome = fmt.Sprintf("%s failed its check", n.ID())
		}
	} else {
		outcome = fmt.Sprintf("%s stopped", n.ID())
	}
	if sound {
		return fmt.Sprintf("%s is sound", n.ID()), errors.Join(n.Start(), n.WaitReady(ctx))
	}
	added, err := rebuild(ctx, w, n)
	if err != nil {
		return outcome, err
	}
	return fmt.Sprintf("%s, was rebuilt as %s", outcome, added.ID()), nil
}

// rebuild is the procedure of docs/operating.md for a damaged node. It comes back
// under a new name, which is to be preferred where others may have been away.
func rebuild(ctx context.Context, w *World, n host.Node) (host.Node, error) {
	var others []string
	for _, other := range w.Cluster.Nodes() {
		if other.ID() != n.ID() {
			others = append(others, other.Endpoint())
		}
	}
	if err := askUntilDone(ctx, func(ctx context.Context) error {
		_, err := n.Run(ctx, "rebuild", "--data-dir", n.DataDir(), "--node-id", string(n.ID()), "--endpoints", strings.Join(others, ","))
		return err
	}); err != nil {
		return nil, err
	}
	if err := w.Cluster.Remove(n.ID()); err != nil {
		return nil, err
	}
	return join(ctx, w)
}
