package auth

import (
	"context"
	"os/exec"
	"syscall"
)

func shell(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd")
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: `cmd /d /c %` + commandVariable + `%`}
	return cmd
}
