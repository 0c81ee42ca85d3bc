//go:build unix

package process

import (
	"errors"
	"syscall"
)

// terminateSelf interrupts this process as a TERM from outside would.
func terminateSelf() { _ = syscall.Kill(syscall.Getpid(), syscall.SIGTERM) }

// processExists reports whether there is a process of this id.
func processExists(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
