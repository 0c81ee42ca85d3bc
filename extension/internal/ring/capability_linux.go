package ring

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// packetSocket makes a packet socket. A process that may have CAP_NET_RAW and has it not in effect takes it for this one call:
// so it is where the file has the capability as permitted only, which starts in a container without it, too (image/install.sh).
func packetSocket() (int, error) {
	const kind = unix.SOCK_DGRAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(unix.AF_PACKET, kind, 0)
	if !errors.Is(err, unix.EPERM) {
		return fd, err
	}
	// Capabilities are the thread's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if unix.Capget(&header, &sets[0]) != nil {
		return fd, err
	}
	const raw = 1 << unix.CAP_NET_RAW
	if sets[0].Permitted&raw == 0 {
		return fd, err
	}
	before := sets
	sets[0].Effective |= raw
	if unix.Capset(&header, &sets[0]) != nil {
		return fd, err
	}
	fd, err = unix.Socket(unix.AF_PACKET, kind, 0)
	if unix.Capset(&header, &before[0]) != nil {
		// A thread that keeps what it should not ends with its goroutine instead of being used again.
		runtime.LockOSThread()
	}
	return fd, err
}
