package simulate

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// newPoller returns the epoll poller, or the portable one on request.
func newPoller(config *Config, l *loop, t *truth) (poller, error) {
	if config.Portable {
		return newPortablePoller(config, l)
	}
	return newEpoll(config.TruthSource, t)
}

const (
	readBytes   = 256 << 10
	eventsATurn = 256
	readsATurn  = 4 // receives from one connection before the others get their turn
)

// epoll serves sockets with raw, non-blocking system calls. The kernel stamps received segments (SO_TIMESTAMPNS, set on
// the listening socket so that even a segment that came before accept carries its time).
type epoll struct {
	fd, wakeFd int
	events     [eventsATurn]unix.EpollEvent
	sockets    map[int32]*fdSocket
	listeners  map[int32]*fdListener
	noPwait2   bool

	truth     *truth
	requested string // Config.TruthSource
	from      source // of the times of sends, once it listens
	why       string // there is no better one
	ring      *departureRing
	drops     int64 // of the ring

	buf     []byte
	control [256]byte
	msg     unix.Msghdr
	iov     unix.Iovec
}

type fdListener struct {
	fd       int
	listener net.Listener
	accept   func(socket) sink
	tcp      bool
}

func newEpoll(requested string, truth *truth) (*epoll, error) {
	// A locked thread's sleeps may be stretched by the default slack of 50 us.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wakeFd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	p := &epoll{
		fd: fd, wakeFd: wakeFd, requested: requested, truth: truth,
		sockets: map[int32]*fdSocket{}, listeners: map[int32]*fdListener{},
		buf: make([]byte, readBytes),
	}
	return p, unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wakeFd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wakeFd)})
}

func (p *epoll) listen(address string, accept func(socket) sink) (string, error) {
	network := "tcp"
	if path, found := strings.CutPrefix(address, "unix:"); found {
		network, address = "unix", path
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return "", err
	}
	file, err := listener.(interface {
		SyscallConn() (syscall.RawConn, error)
	}).SyscallConn()
	if err != nil {
		_ = listener.Close()
		return "", err
	}
	l := &fdListener{listener: listener, accept: accept, tcp: network == "tcp"}
	if err := p.chooseSource(listener.Addr()); err != nil {
		_ = listener.Close()
		return "", err
	}
	controlErr := file.Control(func(fd uintptr) { l.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = controlErr
	}
	if err == nil {
		if l.tcp {
			clock.KeepStamping()
			_ = unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		}
		err = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, l.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.fd)})
	}
	if err != nil {
		_ = listener.Close()
		return "", err
	}
	p.listeners[int32(l.fd)] = l
	return listener.Addr().String(), nil
}

// chooseSource decides where the times of sends come from, before a connection can be accepted.
func (p *epoll) chooseSource(address net.Addr) error {
	tcp, ok := address.(*net.TCPAddr)
	switch {
	case !ok && p.requested != truthSourceAuto && p.requested != sourceUser.String():
		return fmt.Errorf("truth source %s: a Unix socket has no packets; use %s", p.requested, sourceUser)
	case !ok:
		p.from, p.why = sourceUser, "a Unix socket has no packets"
		return nil
	case p.requested == sourceUser.String():
		p.from, p.why = sourceUser, "asked for"
		return nil
	case p.requested == sourceTransmit.String():
		p.from, p.why = sourceTransmit, "asked for"
		return nil
	}
	ring, err := newDepartureRing(tcp.Port)
	switch {
	case err == nil:
		p.from, p.ring = sourceRing, ring
	case p.requested == sourceRing.String():
		return fmt.Errorf("truth source %s: %w", p.requested, err)
	default:
		p.from, p.why = sourceTransmit, "no packet ring: "+err.Error()
	}
	return nil
}

func (p *epoll) source() (source, string, int64) { return p.from, p.why, p.drops }

func (p *epoll) settle() {
	if p.ring != nil {
		p.readRing()
		p.drops += p.ring.drops()
	}
}

// readRing takes over what left, in the order in which it did.
func (p *epoll) readRing() {
	p.ring.read(func(from, to, realNs, nowNs int64, d *departures) {
		d.transmitted(from, to, runNs(realNs, nowNs), sourceRing)
	})
}

// runNs is a kernel's time on the run's clock. One that cannot be trusted lies before every write, so departures refuse it.
func runNs(realNs, nowNs int64) int64 {
	atNs, ok := clock.FromWall(realNs, nowNs)
	if realNs == 0 || !ok {
		return -never
	}
	return min(atNs, nowNs)
}

func (p *epoll) stopListening() {
	for id, l := range p.listeners {
		_ = unix.Close(l.fd)
		_ = l.listener.Close()
		delete(p.listeners, id)
	}
}

func (p *epoll) close() {
	p.stopListening()
	for _, s := range p.sockets {
		_ = unix.Close(s.fd)
	}
	p.sockets = nil
	if p.ring != nil {
		p.ring.close()
	}
	_ = unix.Close(p.fd)
	_ = unix.Close(p.wakeFd)
}

func (p *epoll) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wakeFd, one[:])
}

func (p *epoll) wait(untilNs int64) {
	n := p.pollEvents(untilNs)
	if p.ring != nil {
		p.readRing()
	}
	for i := range n {
		ev := &p.events[i]
		if s, ok := p.sockets[ev.Fd]; ok {
			p.serve(s, ev.Events)
		} else if l, ok := p.listeners[ev.Fd]; ok {
			p.acceptAll(l)
		} else if int(ev.Fd) == p.wakeFd {
			var count [8]byte
			_, _ = unix.Read(p.wakeFd, count[:])
		}
	}
}

// pollEvents waits with the resolution of the kernel's timers: epoll_pwait2 takes nanoseconds; kernels before 5.11 have
// only milliseconds, and the rest is slept.
func (p *epoll) pollEvents(untilNs int64) int {
	leftNs := int64(0)
	if untilNs > 0 {
		leftNs = max(0, untilNs-clock.Now())
	}
	if leftNs == 0 { // does not block, so Go's scheduler need not know
		n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), eventsATurn, 0, 0, 0)
		if e != 0 {
			return 0
		}
		return int(n)
	}
	if !p.noPwait2 {
		var timeout *unix.Timespec
		if leftNs < never/2 {
			ts := unix.NsecToTimespec(leftNs)
			timeout = &ts
		}
		n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), eventsATurn, uintptr(unsafe.Pointer(timeout)), 0, 0)
		if e == 0 {
			return int(n)
		}
		if e == unix.EINTR {
			return 0
		}
		p.noPwait2 = true
	}
	ms := -1
	if leftNs < never/2 {
		ms = int(leftNs / 1_000_000)
		if ms == 0 {
			ts := unix.NsecToTimespec(leftNs)
			_ = unix.Nanosleep(&ts, nil)
		}
	}
	n, err := unix.EpollWait(p.fd, p.events[:], ms)
	if err != nil {
		return 0
	}
	return n
}

func (p *epoll) acceptAll(l *fdListener) {
	for range eventsATurn {
		fd, peer, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		s := &fdSocket{poll: p, fd: fd}
		if l.tcp {
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
			s.departs = p.departuresOf(fd, peer)
		}
		if unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}) != nil {
			_ = unix.Close(fd)
			continue
		}
		p.sockets[int32(fd)] = s
		s.sink = l.accept(s)
		if !s.closed { // its first request has often come already
			p.serve(s, unix.EPOLLIN)
		}
	}
}

func (p *epoll) serve(s *fdSocket, events uint32) {
	if events&unix.EPOLLERR != 0 && p.from == sourceTransmit && s.departs != nil {
		p.readTransmitted(s)
		if events == unix.EPOLLERR {
			return
		}
	}
	if events&unix.EPOLLOUT != 0 {
		s.sink.onWritable()
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return
	}
	for range readsATurn {
		if s.closed {
			return
		}
		n, atNs, kernel, errno := p.receive(s.fd, 0)
		switch {
		case errno == unix.EAGAIN || errno == unix.EINTR:
			return
		case errno != 0 || n == 0:
			s.drop()
			s.sink.onClosed()
			return
		}
		s.sink.onData(p.buf[:n], atNs, kernel)
		if n < len(p.buf) {
			return
		}
	}
}

// receive reads once and returns the time of the last segment that it read, on the run's clock.
func (p *epoll) receive(fd, flags int) (n int, atNs int64, kernel bool, errno syscall.Errno) {
	p.iov.Base = &p.buf[0]
	p.iov.SetLen(len(p.buf))
	p.msg = unix.Msghdr{Iov: &p.iov, Control: &p.control[0]}
	p.msg.SetIovlen(1)
	p.msg.SetControllen(len(p.control))
	r, _, e := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&p.msg)), uintptr(flags|unix.MSG_DONTWAIT))
	nowNs := clock.Now()
	if e != 0 {
		return 0, nowNs, false, e
	}
	if realNs, ok := p.controlTime(); ok {
		if atNs, ok := clock.FromWall(realNs, nowNs); ok {
			return int(r), min(atNs, nowNs), true, 0
		}
	}
	return int(r), nowNs, false, 0
}

// controlTime finds the receive time (wall clock) among the control messages.
func (p *epoll) controlTime() (int64, bool) {
	left := p.control[:min(int(p.msg.Controllen), len(p.control))]
	for len(left) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&left[0]))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(left) {
			return 0, false
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && size >= unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{}))) {
			ts := (*unix.Timespec)(unsafe.Pointer(&left[unix.CmsgLen(0)]))
			return ts.Nano(), true
		}
		left = left[min(unix.CmsgSpace(size-unix.CmsgLen(0)), len(left)):]
	}
	return 0, false
}

// departuresOf prepares an accepted connection so that its bytes have times; nil where they have none.
func (p *epoll) departuresOf(fd int, peer unix.Sockaddr) *departures {
	d := &departures{truth: p.truth}
	switch p.from {
	case sourceRing:
		local, err := unix.Getsockname(fd)
		if err != nil {
			return nil
		}
		p.ring.add(d, peer, local)
	case sourceTransmit:
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_TX_SOFTWARE|
			unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_OPT_ID|unix.SOF_TIMESTAMPING_OPT_TSONLY) != nil {
			return nil
		}
	default:
		return nil
	}
	p.truth.open[d] = struct{}{}
	return d
}

// readTransmitted reads the socket's error queue, where the kernel reports when it handed bytes to the device: once for each
// segment, by the offset of the last byte of the last write in it. Earlier writes in the segment were merged into it.
func (p *epoll) readTransmitted(s *fdSocket) {
	for i := 0; i < eventsATurn && (i == 0 || len(s.departs.waiting()) > 0); i++ {
		if _, _, _, errno := p.receive(s.fd, unix.MSG_ERRQUEUE); errno != 0 {
			return
		}
		var realNs int64
		var key uint32
		var found bool
		left := p.control[:min(int(p.msg.Controllen), len(p.control))]
		for len(left) >= unix.SizeofCmsghdr {
			h := (*unix.Cmsghdr)(unsafe.Pointer(&left[0]))
			size := int(h.Len)
			if size < unix.SizeofCmsghdr || size > len(left) {
				break
			}
			data := left[unix.CmsgLen(0):size]
			switch {
			case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPING && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
				realNs = (*unix.Timespec)(unsafe.Pointer(&data[0])).Nano()
			case len(data) >= int(unsafe.Sizeof(unix.SockExtendedErr{})) &&
				(h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR || h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR):
				e := (*unix.SockExtendedErr)(unsafe.Pointer(&data[0]))
				found = e.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING && e.Info == 0 // SCM_TSTAMP_SND
				key = e.Data
			}
			left = left[min(unix.CmsgSpace(size-unix.CmsgLen(0)), len(left)):]
		}
		if !found || len(s.departs.waiting()) == 0 {
			continue
		}
		// The offset is the one nearest to the next event's: it wraps every 4 GiB.
		near := s.departs.waiting()[0].end
		to := near + int64(int32(key+1-uint32(near)))
		s.departs.transmitted(-1, to, runNs(realNs, clock.Now()), sourceTransmit)
	}
}

// fdSocket is a connection's descriptor.
type fdSocket struct {
	poll    *epoll
	fd      int
	sink    sink
	wantOut bool
	closed  bool
	departs *departures // nil = its bytes have no times
}

func (s *fdSocket) departures() *departures { return s.departs }

// wireEnd implements departing: what is written is what leaves.
func (s *fdSocket) wireEnd(end int64) int64 { return end }

func (s *fdSocket) write(b []byte) (int, error) {
	if s.closed {
		return 0, net.ErrClosed
	}
	if len(b) == 0 {
		return 0, nil
	}
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	if e == unix.EAGAIN || e == unix.EINTR {
		n = 0
	} else if e != 0 {
		return 0, e
	}
	if wantOut := int(n) < len(b); wantOut != s.wantOut {
		s.wantOut = wantOut
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(s.fd)}
		if wantOut {
			ev.Events |= unix.EPOLLOUT
		}
		_ = unix.EpollCtl(s.poll.fd, unix.EPOLL_CTL_MOD, s.fd, &ev)
	}
	return int(n), nil
}

// close sends what the kernel still holds and then the end of the stream. Bytes that the client sent and nobody read
// would turn that into a reset that destroys the response on its way, so they are read first.
func (s *fdSocket) close() {
	if s.closed {
		return
	}
	_ = unix.Shutdown(s.fd, unix.SHUT_WR)
	for range readsATurn {
		if n, _, _, e := s.poll.receive(s.fd, 0); e != 0 || n == 0 {
			break
		}
	}
	s.drop()
}

func (s *fdSocket) reset() {
	if s.closed {
		return
	}
	_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
	s.drop()
}

func (s *fdSocket) drop() {
	if s.closed {
		return
	}
	s.closed = true
	if s.departs != nil {
		if s.poll.from == sourceTransmit { // what the kernel has now goes with the descriptor
			s.poll.readTransmitted(s)
		}
		s.departs.close(clock.Now())
	}
	delete(s.poll.sockets, int32(s.fd))
	_ = unix.Close(s.fd)
}
