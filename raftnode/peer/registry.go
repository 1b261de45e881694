package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"tidemark"
)

// Registry remembers which data directory each peer had when it was first met.
// Its methods are called by many goroutines at once.
type Registry interface {
	// Known returns the incarnation remembered for a node id.
	Known(id string) (incarnation string, ok bool)
	// Remember stores the incarnation of an id durably before it returns nil. It
	// fails with ErrChanged if another incarnation is remembered, so that of two
	// first contacts at the same time one wins.
	Remember(id, incarnation string) error
	// Forget drops an id, durably, when it is removed from the cluster: a new
	// node may then take the id. Forgetting an unknown id is no error.
	Forget(id string) error
}

// ErrChanged is returned by Remember when the id is known with another incarnation.
var ErrChanged = errors.New("node is known with another data directory")

const (
	registryFormat = 1
	// maxRegistryPeers bounds the file: while a node is not yet part of a cluster
	// it lets anybody introduce itself.
	maxRegistryPeers = 256
)

// registryFile is the file's content. Checksum is CRC-32C, in hexadecimal, of the
// JSON of Peers, whose keys Go sorts.
type registryFile struct {
	Format   int               `json:"format"`
	Peers    map[string]string `json:"peers"`
	Checksum string            `json:"checksum"`
}

// FileRegistry is a Registry in one small JSON file that is replaced as a whole.
type FileRegistry struct {
	path string

	mu    sync.Mutex
	peers map[string]string
	// fail is the first error of a write. The file may then hold the old state or
	// the new, so nothing more is promised until the process starts again.
	fail error
}

// OpenRegistry reads the file at path, which need not exist. The error wraps
// tidemark.ErrCorrupt if the file is damaged and tidemark.ErrNewerFormat if a
// newer version wrote it; the file is left alone then.
func OpenRegistry(path string) (*FileRegistry, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &FileRegistry{path: path, peers: map[string]string{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the registry of peers: %w", err)
	}
	peers, err := decodeRegistry(data)
	if err != nil {
		return nil, fmt.Errorf("registry of peers %s: %w", path, err)
	}
	return &FileRegistry{path: path, peers: peers}, nil
}

func decodeRegistry(data []byte) (map[string]string, error) {
	var f registryFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%w: %v", tidemark.ErrCorrupt, err)
	}
	if f.Format > registryFormat {
		return nil, fmt.Errorf("%w: format %d, this version knows %d", tidemark.ErrNewerFormat, f.Format, registryFormat)
	}
	if f.Format != registryFormat || f.Peers == nil {
		return nil, fmt.Errorf("%w: format %d, %d peers", tidemark.ErrCorrupt, f.Format, len(f.Peers))
	}
	if sum := registryChecksum(f.Peers); sum != f.Checksum {
		return nil, fmt.Errorf("%w: checksum is %s, of the content %s", tidemark.ErrCorrupt, f.Checksum, sum)
	}
	return f.Peers, nil
}

func registryChecksum(peers map[string]string) string {
	data, err := json.Marshal(peers)
	if err != nil {
		panic(err) // a map of strings always encodes
	}
	return fmt.Sprintf("%08x", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

// Known implements Registry.
func (r *FileRegistry) Known(id string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	incarnation, ok := r.peers[id]
	return incarnation, ok
}

// Remember implements Registry.
func (r *FileRegistry) Remember(id, incarnation string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.peers[id]; ok {
		if known != incarnation {
			return fmt.Errorf("node %q: %w", id, ErrChanged)
		}
		return r.fail
	}
	if len(r.peers) >= maxRegistryPeers {
		return fmt.Errorf("registry of peers %s is full: it holds %d; limit is %d", r.path, len(r.peers), maxRegistryPeers)
	}
	next := maps.Clone(r.peers)
	next[id] = incarnation
	return r.replace(next)
}

// Forget implements Registry.
func (r *FileRegistry) Forget(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.peers[id]; !ok {
		return r.fail
	}
	next := maps.Clone(r.peers)
	delete(next, id)
	return r.replace(next)
}

// Keep drops, durably, all ids but those that keep says.
func (r *FileRegistry) Keep(keep func(id string) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := maps.Clone(r.peers)
	maps.DeleteFunc(next, func(id, _ string) bool { return !keep(id) })
	if len(next) == len(r.peers) {
		return r.fail
	}
	return r.replace(next)
}

// replace writes next to a new file, syncs it and renames it over the old one, so
// that a crash leaves the old content or the new.
func (r *FileRegistry) replace(next map[string]string) error {
	if r.fail != nil {
		return r.fail
	}
	if err := r.write(next); err != nil {
		r.fail = fmt.Errorf("write the registry of peers %s: %w", r.path, err)
		return r.fail
	}
	r.peers = next
	return nil
}

func (r *FileRegistry) write(peers map[string]string) error {
	data, err := json.MarshalIndent(registryFile{registryFormat, peers, registryChecksum(peers)}, "", "  ")
	if err != nil {
		return err
	}
	tmp := r.path + ".tmp"
	if err := writeSynced(tmp, append(data, '\n')); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, r.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
