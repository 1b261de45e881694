//go:build !linux

package localcluster

import (
	"os/exec"
	"syscall"
)

// bind puts the command into a process group of its own, so that Ctrl-C reaches
// only its starter, which stops it in order. Without Linux's signal at the death of the
// parent, a starter that is killed leaves its nodes behind.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
