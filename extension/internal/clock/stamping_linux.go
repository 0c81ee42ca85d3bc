package clock

import (
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// KeepStamping switches the kernel's receive times on for as long as the process lives, and returns when packets carry
// them. Whoever asks for SO_TIMESTAMPNS or SO_TIMESTAMPING calls it first: the kernel begins to stamp some time after the
// first socket of the machine asked for it, and what a socket received until then has no time. It may be called often and
// from any goroutine; a machine that stamps nothing costs it a tenth of a second once.
func KeepStamping() { stamping() }

var stamping = sync.OnceFunc(func() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return
	}
	self := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) != nil || unix.Bind(fd, self) != nil {
		return
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return
	}
	// A datagram to itself that was not stamped on arrival gets the time of the call that reads it. So the kernel stamps
	// as soon as one that waited in the queue comes out with a time from before the wait.
	control := make([]byte, 64)
	for range 500 {
		if unix.Sendto(fd, control[:1], 0, addr) != nil {
			return
		}
		sentNs := Now()
		time.Sleep(100 * time.Microsecond)
		_, size, _, _, err := unix.Recvmsg(fd, make([]byte, 1), control, 0)
		if err != nil {
			continue
		}
		messages, _ := unix.ParseSocketControlMessage(control[:size])
		for _, m := range messages {
			if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
				ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
				if atNs, ok := FromWall(ts.Nano(), Now()); ok && atNs < sentNs+50_000 {
					return
				}
			}
		}
	}
})
