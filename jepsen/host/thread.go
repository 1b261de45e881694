//go:build linux

package host

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A network namespace belongs to a thread, and so does the signal that a child gets
// when its parent dies: Linux sends it when the thread that forked ends. So one
// goroutine keeps one thread for all that happens in other namespaces, and never
// ends. Between two requests the thread is in the namespace of the process.
var (
	threadOnce sync.Once
	requests   chan func()
)

// onThread runs f on the kept thread.
func onThread(f func() error) error {
	threadOnce.Do(func() {
		requests = make(chan func())
		go func() {
			runtime.LockOSThread()
			for request := range requests {
				request()
			}
		}()
	})
	result := make(chan error, 1)
	requests <- func() { result <- f() }
	return <-result
}

// newNamespace makes a network namespace without a name. It lives as long as the
// handle is open or a process, a device or a socket is in it, so nothing is left of
// it when this process and its children are gone.
func newNamespace() (ns netns.NsHandle, err error) {
	err = onThread(func() error {
		return away(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error {
			ns, err = netns.Get()
			return err
		})
	})
	if err != nil {
		return netns.None(), fmt.Errorf("make a network namespace: %w", err)
	}
	return ns, nil
}

// within runs f in the namespace, on a thread that the caller has locked.
func within(ns netns.NsHandle, f func() error) error {
	return away(func() error { return netns.Set(ns) }, f)
}

// away enters another namespace, runs f there, and comes back. The caller has locked
// the thread.
func away(enter, f func() error) error {
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer home.Close()
	if err := enter(); err != nil {
		return err
	}
	defer func() {
		if err := netns.Set(home); err != nil {
			// What runs on this thread next would talk to the wrong network.
			panic(fmt.Sprintf("host: cannot go back to the own network namespace: %v", err))
		}
	}()
	return f()
}

// startWithin starts the command in the namespace, or in that of this process if ns
// is not open. It is killed when this process ends, in whatever way, and is in a
// process group of its own, so that Ctrl-C reaches only this process.
func startWithin(ns netns.NsHandle, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return onThread(func() error {
		if !ns.IsOpen() {
			return cmd.Start()
		}
		return within(ns, cmd.Start)
	})
}

// dialWithin connects to an address, HOST:PORT with a numeric host, from the
// namespace. A socket stays where it was made, so only dialing needs the thread, and
// each has one of its own because it may take long.
func dialWithin(ctx context.Context, ns netns.NsHandle, network, address string) (conn net.Conn, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = within(ns, func() error {
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
