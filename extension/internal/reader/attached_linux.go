//go:build linux && (amd64 || arm64) && (race || asan || msan || tokenclock_attached || go1.28)

package reader

import "syscall"

// canDetach: the thread stays an ordinary goroutine in this build. Under the detectors, atomic operations and memory
// accesses are function calls that may grow the stack.
const canDetach = false

func leaveScheduler() {}

func returnToScheduler() {}

func pollEvents(sh *sharedState, timeoutMs uintptr) (n uintptr, e syscall.Errno) {
	return pollAttached(sh, timeoutMs)
}
