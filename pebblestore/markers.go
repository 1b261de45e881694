package pebblestore

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// orderedMarkers is a file system for Pebble, which names its manifest and its
// format by empty "marker" files: it makes a manifest, makes a marker that names
// it, removes the marker before, and then syncs the directory once for all three. A
// loss of power before that sync may keep any of the three on a file system that
// does not order them, and so leave a marker of a manifest that is not there, or no
// marker. Here the directory is synced before and after a marker is made.
type orderedMarkers struct{ vfs.FS }

func (o orderedMarkers) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if !strings.HasPrefix(o.PathBase(name), "marker.") {
		return o.FS.Create(name, category)
	}
	dir := o.PathDir(name)
	if err := syncDir(o.FS, dir); err != nil {
		return nil, err
	}
	file, err := o.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	if err := syncDir(o.FS, dir); err != nil {
		_ = file.Close() // of an empty file
		return nil, err
	}
	return file, nil
}

// Unwrap lets Pebble find the file system below.
func (o orderedMarkers) Unwrap() vfs.FS { return o.FS }
