package localcluster

import (
	"os/exec"
	"syscall"
)

// bind puts the command into a process group of its own, so that Ctrl-C reaches
// only its starter, which stops it in order; and has it killed when that is gone.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
