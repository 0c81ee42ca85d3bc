//go:build linux && (amd64 || arm64) && !race

package reader

import (
	"syscall"
	"unsafe"
	_ "unsafe" // for linkname

	"golang.org/x/sys/unix"
)

// Go keeps these two names linkable for others; see the comments at runtime.entersyscall.

//go:linkname leaveScheduler runtime.entersyscall
func leaveScheduler()

//go:linkname returnToScheduler runtime.exitsyscall
func returnToScheduler()

//go:nosplit
//go:norace
func pollEvents(sh *shared, timeoutMs uintptr) (n uintptr, e syscall.Errno) {
	n, _, e = syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(sh.epfd), uintptr(unsafe.Pointer(&sh.events[0])), eventsSize, timeoutMs, 0, 0)
	return n, e
}
