//go:build linux

package disk

import (
	"errors"
	"syscall"
	"time"
)

// Disk is a mounted file system. It is the Control of itself.
type Disk struct{ mountpoint string }

// Saved is the contents of a file at one moment.
type Saved struct{}

// Injection is a rule that is in force.
type Injection struct{}

// Hits returns how many operations the rule has hit.
func (i *Injection) Hits() int { return 0 }

// Heal ends the rule. What it held up goes on.
func (i *Injection) Heal() {}

// Supported returns nil if disks can be mounted here, or why not.
func Supported() error { return errors.ErrUnsupported }

// Mount shows the directory backing at mountpoint, through a disk. Both exist.
// What backing holds already counts as durable. The live contents are always
// ordinary files in backing.
func Mount(backing, mountpoint string, o Options) (*Disk, error) { return nil, errors.ErrUnsupported }

// CleanUp unmounts the disks below the directory prefix whose process is gone.
func CleanUp(prefix string) error { return nil }

// DataDir is the mountpoint.
func (d *Disk) DataDir() string { return d.mountpoint }

// Close heals and unmounts. It is safe to call twice.
func (d *Disk) Close() error { return nil }

func (d *Disk) PowerFailure(seed uint64) (Loss, error) { return Loss{}, errors.ErrUnsupported }
func (d *Disk) LoseUnsynced() (Loss, error)            { return Loss{}, errors.ErrUnsupported }
func (d *Disk) Fail(rule Rule, errno syscall.Errno) (*Injection, error) {
	return nil, errors.ErrUnsupported
}
func (d *Disk) Stall(rule Rule, delay time.Duration) (*Injection, error) {
	return nil, errors.ErrUnsupported
}
func (d *Disk) Fill(free int64) {}
func (d *Disk) FlipBit(pattern string, offset int64, seed uint64) (Damage, error) {
	return Damage{}, errors.ErrUnsupported
}
func (d *Disk) Truncate(pattern string, size int64, seed uint64) (Damage, error) {
	return Damage{}, errors.ErrUnsupported
}
func (d *Disk) Save(path string) (*Saved, error) { return nil, errors.ErrUnsupported }
func (d *Disk) RollBack(saved *Saved) error      { return errors.ErrUnsupported }
func (d *Disk) Heal()                            {}
func (d *Disk) Stats() Stats                     { return Stats{} }
