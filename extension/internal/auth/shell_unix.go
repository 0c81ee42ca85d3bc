//go:build !windows

package auth

import (
	"context"
	"os/exec"
	"syscall"
)

// shell runs the command in a group of its own, so that a limit ends all that it started.
func shell(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `eval "$`+commandVariable+`"`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}
