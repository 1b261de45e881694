//go:build linux

package disk

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// source and the process id are what mounts of this package show as their device.
	source = "tidemark-disk:"
	// maxTransfer is the most bytes in one read or write. Larger ones come in parts.
	maxTransfer = 256 << 10
)

// Supported returns nil if disks can be mounted here, or why not.
func Supported() error {
	if os.Geteuid() != 0 {
		return errors.New("a disk needs root to be mounted")
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/fuse", Err: err}
	}
	return unix.Close(fd)
}

// mount serves the mountpoint. The connection to the kernel is opened here and not by
// the library, so that no child process inherits it: the kernel answers for a disk
// whose process is gone only when all copies are closed.
func (d *Disk) mount() error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// allow_other is for tests that drop privileges; the kernel checks no permissions.
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,max_read=%d", fd, maxTransfer)
	err = unix.Mount(source+strconv.Itoa(os.Getpid()), d.mountpoint, "fuse.tidemark-disk",
		unix.MS_NOSUID|unix.MS_NODEV, data)
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	// Names are asked for each time, which is what makes the kernel see new inodes
	// after a power failure. It keeps pages until the disk tells otherwise: what is
	// written goes through the kernel, so mapped pages show it.
	attributes, names := time.Second, time.Duration(0)
	options := &fs.Options{
		AttrTimeout: &attributes, EntryTimeout: &names,
		NullPermissions: true,
		RootStableAttr:  &fs.StableAttr{Ino: d.root.id},
		MountOptions: fuse.MountOptions{
			MaxWrite: maxTransfer, MaxBackground: 128,
			ExplicitDataCacheControl: true, DisableXAttrs: true, DisableReadDirPlus: true,
		},
	}
	d.view = &node{disk: d, ino: d.root}
	// "/dev/fd/N" tells the library that it is mounted already.
	d.server, err = fuse.NewServer(fs.NewNodeFS(d.view, options), fmt.Sprintf("/dev/fd/%d", fd), &options.MountOptions)
	if err != nil {
		return errors.Join(err, unix.Unmount(d.mountpoint, unix.MNT_DETACH))
	}
	go d.server.Serve()
	if err := errors.Join(d.server.WaitMount(), d.refusePoll()); err != nil {
		return errors.Join(err, d.Close())
	}
	return nil
}

// refusePoll makes the kernel learn that files cannot be polled. Go polls what it
// opens; if this process did that with all its threads, none would be left to answer.
func (d *Disk) refusePoll() error {
	fd, err := unix.Open(filepath.Join(d.mountpoint, ".go-fuse-epoll-hack"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err
}

// Close heals and unmounts. What is still open then answers EIO, and Close returns
// an error. It is safe to call twice.
func (d *Disk) Close() error {
	d.gate.Lock()
	if d.closed {
		d.gate.Unlock()
		return nil
	}
	d.closed = true
	d.gate.Unlock()
	d.Heal()

	err := unix.Unmount(d.mountpoint, 0)
	for try := 0; errors.Is(err, unix.EBUSY) && try < 20; try++ {
		// The kernel closes the files of a process that was killed a moment later.
		time.Sleep(5 * time.Millisecond)
		err = unix.Unmount(d.mountpoint, 0)
	}
	if err != nil {
		detached := unix.Unmount(d.mountpoint, unix.MNT_DETACH)
		return errors.Join(fmt.Errorf("disk at %s was in use when it was closed: %w", d.mountpoint, err), detached)
	}
	d.server.Wait()
	return os.RemoveAll(filepath.Join(d.backing, graveyard))
}

// CleanUp unmounts the disks at or below the directory prefix whose process is gone.
// Several processes may do so at once.
func CleanUp(prefix string) error {
	prefix, err := filepath.Abs(prefix)
	if err != nil {
		return err
	}
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		return err
	}
	defer mounts.Close()
	var errs []error
	lines := bufio.NewScanner(mounts)
	for lines.Scan() {
		// "DEVICE MOUNTPOINT TYPE …", with spaces as \040.
		fields := strings.Fields(lines.Text())
		pid, ours := strings.CutPrefix(fields[0], source)
		if !ours {
			continue
		}
		at := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[1])
		if at != prefix && !strings.HasPrefix(at, strings.TrimSuffix(prefix, "/")+"/") {
			continue
		}
		if number, err := strconv.Atoi(pid); err == nil && !doomed(uint32(number)) {
			continue
		}
		// Force answers what still waits for the disk: a thread of the very process that served
		// it may be among that, and keep the rest of it. EINVAL: somebody else was faster.
		if err := unix.Unmount(at, unix.MNT_FORCE|unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, &os.PathError{Op: "unmount", Path: at, Err: err})
		}
	}
	return errors.Join(append(errs, lines.Err())...)
}
