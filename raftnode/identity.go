package raftnode

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"tidemark"
	"tidemark/raftnode/logstore"
)

// The files of a data directory that belong to the node itself.
const (
	// lockFile is held with flock(2) while a process uses the directory.
	lockFile = "LOCK"
	// identityFile says whose directory it is.
	identityFile = "NODE"
	// raftDir holds the log, the term and the vote.
	raftDir = "raft"
	// registryFile holds the incarnations of the peers. It lies outside raftDir so
	// that it tells that the node has taken part, should raftDir get lost.
	registryFile = "PEERS"
)

const identityFormat = 1

// identity is the content of the file NODE. It is written once.
type identity struct {
	Format int    `json:"format"`
	NodeID string `json:"node_id"`
	// Incarnation is another one each time a directory is made, so that the
	// peers notice a node that comes back under its id without its data.
	Incarnation string        `json:"incarnation"`
	LogStore    logstore.Kind `json:"log_store"`
	// Checksum is sum's. The first files of format 1 have none.
	Checksum string `json:"checksum,omitempty"`
}

// sum is CRC-32C, in hexadecimal, of the other fields. A damaged name would stand for
// another member, and a damaged incarnation for a node that lost its disk.
func (id identity) sum() string {
	text := fmt.Sprintf("%d\n%s\n%s\n%s\n", id.Format, id.NodeID, id.Incarnation, id.LogStore)
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

// readIdentity reads the file NODE with the path name.
func readIdentity(name string) (id identity, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return id, fmt.Errorf("read whose data directory it is: %w", err)
	}
	if err := json.Unmarshal(data, &id); err != nil {
		return id, fmt.Errorf("%w: %s: %w", tidemark.ErrCorrupt, name, err)
	}
	switch {
	case id.Format > identityFormat:
		return id, fmt.Errorf("%w: %s has format %d, this version knows %d", tidemark.ErrNewerFormat, name, id.Format, identityFormat)
	case id.Format < 1 || id.NodeID == "" || id.Incarnation == "":
		return id, fmt.Errorf("%w: %s lacks a format, a node id or an incarnation", tidemark.ErrCorrupt, name)
	case id.Checksum != "" && id.Checksum != id.sum():
		return id, fmt.Errorf("%w: %s: checksum is %s, of the content %s", tidemark.ErrCorrupt, name, id.Checksum, id.sum())
	}
	return id, nil
}

// Owner reads whose a data directory is, and which log store it has. It changes
// nothing. The error wraps fs.ErrNotExist if it is no data directory.
func Owner(path string) (nodeID string, kind logstore.Kind, err error) {
	id, err := readIdentity(filepath.Join(path, identityFile))
	return id.NodeID, id.LogStore, err
}

// Directory is a data directory that this process holds the lock of.
type Directory struct {
	path string
	lock *os.File
	id   identity
	// fresh says that the directory was made by this call of Claim.
	fresh bool
}

// Claim locks a data directory for a node, and makes it if there is none. Call it
// before opening anything in the directory: nothing is touched when it fails. The
// error wraps tidemark.ErrForeignData if the directory is another node's,
// logstore.ErrOtherKind if it holds another kind of log store,
// tidemark.ErrNewerFormat if a newer version made it, and tidemark.ErrCorrupt if it
// holds data but does not say whose.
func Claim(path, nodeID string, kind logstore.Kind) (*Directory, error) {
	return claim(path, nodeID, kind, true)
}

func claim(path, nodeID string, kind logstore.Kind, create bool) (*Directory, error) {
	if nodeID == "" {
		return nil, tidemark.Invalid("node-id", "must not be empty")
	}
	if _, err := logstore.ParseKind(string(kind)); err != nil {
		return nil, err
	}
	if create {
		if err := makeDurably(path); err != nil {
			return nil, fmt.Errorf("make the data directory: %w", err)
		}
	}
	lock, err := lockDirectory(path)
	if err != nil {
		return nil, err
	}
	d := &Directory{path: path, lock: lock}
	if err := d.identify(nodeID, kind, create); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// makeDurably makes a directory and those above it, if they are not there. What is
// synced in it would be lost with its own name.
func makeDurably(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if err := makeDurably(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func lockDirectory(path string) (*os.File, error) {
	name := filepath.Join(path, lockFile)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("data directory %s is in use by another process", path)
		} else {
			err = fmt.Errorf("lock %s: %w", name, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// identify reads the file NODE, or makes it if the directory is empty.
func (d *Directory) identify(nodeID string, kind logstore.Kind, create bool) error {
	name := filepath.Join(d.path, identityFile)
	id, err := readIdentity(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		return d.create(name, nodeID, kind)
	case err != nil:
		return err
	case id.NodeID != nodeID:
		return fmt.Errorf("%w: %s belongs to node %s, and this is node %s", tidemark.ErrForeignData, d.path, id.NodeID, nodeID)
	case id.LogStore != kind:
		return fmt.Errorf("%w: %s keeps its log in %s, and %s was asked for; "+
			"to change it, remove the node and let it join again with an empty data directory", logstore.ErrOtherKind, d.path, id.LogStore, kind)
	}
	d.id = id
	return nil
}

func (d *Directory) create(name, nodeID string, kind logstore.Kind) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("read the data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() == raftDir || e.Name() == "store" {
			return fmt.Errorf("%w: %s holds %s, but no file %s that says whose data it is", tidemark.ErrCorrupt, d.path, e.Name(), identityFile)
		}
	}
	d.id = identity{Format: identityFormat, NodeID: nodeID, Incarnation: uuid.NewString(), LogStore: kind}
	d.id.Checksum = d.id.sum()
	d.fresh = true
	data, err := json.MarshalIndent(d.id, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFileDurably(name, append(data, '\n')); err != nil {
		return fmt.Errorf("write whose data directory it is: %w", err)
	}
	return nil
}

// writeFileDurably replaces a file; after a crash it is the old one or the new one.
func writeFileDurably(name string, data []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Path is where the directory is.
func (d *Directory) Path() string { return d.path }

// Close gives the directory up. Nothing in it may be open any more.
func (d *Directory) Close() error { return d.lock.Close() }
