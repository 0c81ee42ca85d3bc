package simulate

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// queueBytes is what a portable socket takes while its writer is behind.
const queueBytes = 256 << 10

// portablePoller serves sockets with two goroutines each on top of Go's net package. Times are those after a read
// returned, and before bytes were queued for the writer.
type portablePoller struct {
	loop      *loop
	ping      chan struct{}
	listeners []net.Listener
	sockets   map[*portableSocket]struct{}
	group     sync.WaitGroup
}

func newPortablePoller(config *Config, l *loop) (*portablePoller, error) {
	if requested := config.TruthSource; requested != truthSourceAuto && requested != sourceUser.String() {
		return nil, fmt.Errorf("truth source %s: this I/O has no times of the kernel; use %s", requested, sourceUser)
	}
	return &portablePoller{loop: l, ping: make(chan struct{}, 1), sockets: map[*portableSocket]struct{}{}}, nil
}

func (p *portablePoller) settle() {}

func (p *portablePoller) source() (source, string, int64) {
	return sourceUser, "this I/O has no times of the kernel", 0
}

func (p *portablePoller) listen(address string, accept func(socket) sink) (string, error) {
	network := "tcp"
	if path, found := strings.CutPrefix(address, "unix:"); found {
		network, address = "unix", path
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return "", err
	}
	p.listeners = append(p.listeners, listener)
	p.group.Add(1)
	go func() {
		defer p.group.Done()
		for {
			nc, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // out of descriptors: they come back
				time.Sleep(time.Millisecond)
				continue
			}
			s := &portableSocket{poll: p, conn: nc}
			s.more.L = &s.mu
			if !p.loop.post(func() { p.start(s, accept) }) {
				_ = nc.Close()
			}
		}
	}()
	return listener.Addr().String(), nil
}

func (p *portablePoller) start(s *portableSocket, accept func(socket) sink) {
	p.sockets[s] = struct{}{}
	s.sink = accept(s)
	p.group.Add(2)
	go s.readAll()
	go s.writeAll()
}

func (p *portablePoller) wait(untilNs int64) {
	leftNs := untilNs - clock.Now()
	if untilNs == 0 || leftNs <= 0 {
		select {
		case <-p.ping:
		default:
		}
		return
	}
	if untilNs >= never/2 {
		<-p.ping
		return
	}
	t := time.NewTimer(time.Duration(leftNs))
	defer t.Stop()
	select {
	case <-p.ping:
	case <-t.C:
	}
}

func (p *portablePoller) wake() {
	select {
	case p.ping <- struct{}{}:
	default:
	}
}

func (p *portablePoller) stopListening() {
	for _, l := range p.listeners {
		_ = l.Close()
	}
	p.listeners = nil
}

func (p *portablePoller) close() {
	p.stopListening()
	for s := range p.sockets {
		s.reset()
	}
	p.group.Wait()
}

// portableSocket is a connection with a goroutine that reads and one that writes.
type portableSocket struct {
	poll   *portablePoller
	conn   net.Conn
	sink   sink
	closed bool // the loop's view

	mu      sync.Mutex
	more    sync.Cond
	queue   []byte
	waiting bool // a write was cut short
	closing bool // close after the queue
	broken  bool
}

func (s *portableSocket) readAll() {
	defer s.poll.group.Done()
	buf := make([]byte, 32<<10)
	for {
		n, err := s.conn.Read(buf)
		atNs := clock.Now()
		// The loop must be done with the buffer before the next read.
		if n > 0 && !s.poll.loop.call(func() {
			if !s.closed {
				s.sink.onData(buf[:n], atNs, false)
			}
		}) {
			return
		}
		if err != nil {
			s.poll.loop.post(func() {
				if !s.closed {
					s.drop(false)
					s.sink.onClosed()
				}
			})
			return
		}
	}
}

func (s *portableSocket) writeAll() {
	defer s.poll.group.Done()
	defer func() { _ = s.conn.Close() }()
	var batch []byte
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closing && !s.broken {
			s.more.Wait()
		}
		batch, s.queue = s.queue, batch[:0]
		closing, broken, waiting := s.closing, s.broken, s.waiting
		s.waiting = false
		s.mu.Unlock()
		if broken {
			return
		}
		if len(batch) > 0 {
			if _, err := s.conn.Write(batch); err != nil {
				return // the reader notices, too
			}
		}
		if waiting {
			s.poll.loop.post(func() {
				if !s.closed {
					s.sink.onWritable()
				}
			})
		}
		if closing && len(batch) == 0 {
			if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite()
			}
			return
		}
	}
}

func (s *portableSocket) write(b []byte) (int, error) {
	if s.closed {
		return 0, net.ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(b), max(0, queueBytes-len(s.queue)))
	s.queue = append(s.queue, b[:n]...)
	s.waiting = s.waiting || n < len(b)
	s.more.Signal()
	return n, nil
}

func (s *portableSocket) close() { s.drop(true) }

func (s *portableSocket) reset() {
	if c, ok := s.conn.(*net.TCPConn); ok && !s.closed {
		_ = c.SetLinger(0)
	}
	s.drop(false)
}

func (s *portableSocket) drop(inOrder bool) {
	if s.closed {
		return
	}
	s.closed = true
	delete(s.poll.sockets, s)
	s.mu.Lock()
	s.closing, s.broken = inOrder, !inOrder
	s.more.Signal()
	s.mu.Unlock()
	if !inOrder {
		_ = s.conn.Close()
	}
}
