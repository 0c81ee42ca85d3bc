//go:build linux && (amd64 || arm64) && !race && !asan && !msan && !tokenclock_attached && !go1.28

package reader

import (
	"syscall"
	"unsafe"
	_ "unsafe" // for linkname

	"golang.org/x/sys/unix"
)

// canDetach: this build may run the thread beside Go's scheduler. Go keeps the two names below linkable for others (see the
// comments at runtime.entersyscall), but promises nothing about a version that is not out yet, hence the bound above: raise
// it once the tests pass with the new one. The build tag tokenclock_attached does without them.
const canDetach = true

//go:linkname leaveScheduler runtime.entersyscall
func leaveScheduler()

//go:linkname returnToScheduler runtime.exitsyscall
func returnToScheduler()

//go:nosplit
//go:norace
func pollEvents(sh *sharedState, timeoutMs uintptr) (n uintptr, e syscall.Errno) {
	if sh.attached != 0 {
		return pollAttached(sh, timeoutMs)
	}
	n, _, e = syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(sh.epfd), uintptr(unsafe.Pointer(&sh.events[0])), eventsSize, timeoutMs, 0, 0)
	return n, e
}
