//go:build linux && (amd64 || arm64) && race

package reader

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Under the race detector atomic operations are function calls that may grow the stack, so the thread stays an ordinary
// goroutine there.

func leaveScheduler() {}

func returnToScheduler() {}

func pollEvents(sh *shared, timeoutMs uintptr) (n uintptr, e syscall.Errno) {
	n, _, e = syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(sh.epfd), uintptr(unsafe.Pointer(&sh.events[0])), eventsSize, timeoutMs, 0, 0)
	return n, e
}
