package localcluster

import (
	"os/exec"
	"runtime"
	"sync"
)

var (
	startOnce sync.Once
	starts    chan startRequest
)

type startRequest struct {
	cmd    *exec.Cmd
	result chan<- error
}

// startBound starts the command so that it dies with this process. Linux ties
// the signal to the thread that forked, not to the process, so one goroutine
// keeps a thread for all of them, and never ends.
func startBound(cmd *exec.Cmd) error {
	startOnce.Do(func() {
		starts = make(chan startRequest)
		go func() {
			runtime.LockOSThread()
			for request := range starts {
				request.result <- request.cmd.Start()
			}
		}()
	})
	bind(cmd)
	result := make(chan error)
	starts <- startRequest{cmd, result}
	return <-result
}
