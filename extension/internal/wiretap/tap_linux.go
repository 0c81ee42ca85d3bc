package wiretap

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	keptBytes  = 256 << 20 // of packets that wait in the kernel
	packetSize = 256 << 10 // larger than any packet, BIG TCP's included
	lookEvery  = 20 * time.Millisecond
)

// Tap captures until Close.
type Tap struct {
	fd       int
	flows    *assembler
	stopping atomic.Bool
	done     chan struct{}
	err      error
}

// Open begins to capture the TCP segments from and to a port on an interface ("lo" for loopback). It returns an error that
// is ErrNotAllowed where the process may not.
func Open(device string, port int) (*Tap, error) {
	iface, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("wiretap: interface %q: %w", device, err)
	}
	// Without a protocol nothing is captured before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	if err != nil {
		return nil, fmt.Errorf("wiretap: packet socket: %w", err)
	}
	t := &Tap{fd: fd, flows: newAssembler(port), done: make(chan struct{})}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if err == nil {
		err = awaitStamps()
	}
	if err == nil {
		err = t.prepare(iface.Index, port)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("wiretap: %w", err)
	}
	go t.capture()
	return t, nil
}

func (t *Tap) prepare(device, port int) error {
	program, err := bpf.Assemble(filter(uint32(port)))
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(program))
	for i, r := range program {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(t.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	if unix.SetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, keptBytes) != nil {
		_ = unix.SetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, keptBytes)
	}
	wait := unix.NsecToTimeval(int64(lookEvery))
	if err := unix.SetsockoptTimeval(t.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return err
	}
	// Only a socket of all protocols sees what leaves.
	return unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: device})
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }

// filter lets segments of the port through that carry payload or SYN. It reads from the network header on.
func filter(port uint32) []bpf.Instruction {
	const keep, drop = packetSize, 0
	ports := func(offset uint32) []bpf.Instruction { // X = length of the network header where offset is 0
		return []bpf.Instruction{
			bpf.LoadIndirect{Off: offset, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: port, SkipTrue: 2},
			bpf.LoadIndirect{Off: offset + 2, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: port, SkipTrue: 1},
			bpf.RetConstant{Val: keep},
			bpf.RetConstant{Val: drop},
		}
	}
	v4 := append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
		bpf.RetConstant{Val: drop},
		bpf.LoadMemShift{Off: 0},
	}, ports(0)...)
	v6 := append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
		bpf.RetConstant{Val: drop},
		bpf.LoadConstant{Dst: bpf.RegX, Val: 0},
	}, ports(40)...)
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IP, SkipFalse: uint8(len(v4))},
	}
	program = append(program, v4...)
	program = append(program,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipTrue: 1},
		bpf.RetConstant{Val: drop})
	return append(program, v6...)
}

// awaitStamps returns once the kernel stamps packets as they come. The first socket of a machine that asks for times turns that
// on, but the kernel carries it out later; until then it stamps a packet when it is read, which is no time of arrival. A
// datagram to ourselves that is read a while after it was sent tells which of the two it does. The caller's own socket
// has asked before, so that the stamping stays on.
func awaitStamps() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	self, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	packet := make([]byte, 1)
	control := make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))))
	for range 1000 {
		if err := unix.Sendto(fd, packet, 0, self); err != nil {
			return fmt.Errorf("a datagram to this machine: %w", err)
		}
		sentNs := time.Now().UnixNano()
		time.Sleep(time.Millisecond)
		_, n, _, _, err := unix.Recvmsg(fd, packet, control, 0)
		if err != nil {
			return err
		}
		if atNs, ok := stampOf(control[:n]); ok && atNs <= sentNs {
			return nil
		}
	}
	return errors.New("the kernel does not stamp packets as they arrive")
}

// capture reads packets until Close was called and none waits.
func (t *Tap) capture() {
	defer close(t.done)
	packet := make([]byte, packetSize)
	control := make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))))
	for {
		stopping := t.stopping.Load()
		n, controlled, _, from, err := unix.Recvmsg(t.fd, packet, control, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if stopping {
				return
			}
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			t.err = err
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		atNs, stamped := stampOf(control[:controlled])
		if !ok || !stamped {
			t.err = errors.New("a packet without a time or a direction")
			return
		}
		t.flows.packet(packet[:n], link.Pkttype == unix.PACKET_OUTGOING, atNs)
	}
}

func stampOf(control []byte) (int64, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return (*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Nano(), true
		}
	}
	return 0, false
}

// Close ends the capture and returns it. What passed before the call is in it.
func (t *Tap) Close() (*Capture, error) {
	t.stopping.Store(true)
	<-t.done
	statistics, err := unix.GetsockoptTpacketStats(t.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	_ = unix.Close(t.fd)
	if t.err != nil {
		return nil, fmt.Errorf("wiretap: %w", t.err)
	}
	if err != nil {
		return nil, fmt.Errorf("wiretap: statistics: %w", err)
	}
	return &Capture{Drops: int(statistics.Drops), Flows: t.flows.flows}, nil
}
