package simulate

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"sync"
	"time"
)

// secureLayer puts TLS between the poller's sockets and the connections. The loop encrypts and writes; only decryption
// has a goroutine of its own for each connection, because crypto/tls reads by blocking. A request's begin is the kernel's
// time of the segment that completed its last TLS record, and an event leaves with the segment that completes its own.
type secureLayer struct {
	srv    *Server
	config *tls.Config
	group  sync.WaitGroup
	open   map[*secureSocket]struct{} // the loop's
}

// newSecureLayer makes a certificate for this host that is valid for a day.
func newSecureLayer(s *Server) (*secureLayer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tokenclock simulated server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &secureLayer{srv: s, open: map[*secureSocket]struct{}{}, config: &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"h2", "http/1.1"},
		MinVersion:   tls.VersionTLS12,
	}}, nil
}

// close returns when every goroutine has ended.
func (l *secureLayer) close() { l.group.Wait() }

// accept begins TLS on a new socket.
func (l *secureLayer) accept(sock socket) sink {
	s := &secureSocket{layer: l, sock: sock}
	s.more.L = &s.mu
	s.tls = tls.Server((*cipherConn)(s), l.configOf(s))
	l.open[s] = struct{}{}
	l.group.Add(1)
	go s.decrypt()
	return s
}

// secureSocket is the sink of the ciphertext and the socket of the plain text.
type secureSocket struct {
	layer   *secureLayer
	sock    socket
	inner   sink // set once the handshake is done
	tls     *tls.Conn
	closed  bool
	closing bool

	mu      sync.Mutex
	more    sync.Cond
	in      []cipherSegment
	inErr   error
	readNs  int64 // time of the segment that was read last
	kernel  bool
	out     []byte // ciphertext on its way to the socket
	flushed int

	made    int64   // bytes of ciphertext so far
	records []int64 // made after each record of the present write
	tickets *ticketSender

	// The loop's: where the records of the last write end.
	written int64 // plain bytes so far
	ends    []recordEnd
}

// recordEnd is where a TLS record ends, in plain bytes and on the wire.
type recordEnd struct{ plain, wire int64 }

type cipherSegment struct {
	b      []byte
	atNs   int64
	kernel bool
}

// decrypt is the connection's goroutine.
func (s *secureSocket) decrypt() {
	l := s.layer
	defer l.group.Done()
	if err := s.tls.Handshake(); err != nil {
		l.srv.loop.post(s.reset)
		return
	}
	if err := s.sendTickets(); err != nil {
		l.srv.loop.post(s.reset)
		return
	}
	if s.tls.ConnectionState().NegotiatedProtocol == "h2" {
		l.srv.serveHTTP2(s)
		return
	}
	if !l.srv.loop.call(func() { s.inner = l.srv.accept(s) }) {
		return
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := s.tls.Read(buf)
		s.mu.Lock()
		atNs, kernel := s.readNs, s.kernel
		s.mu.Unlock()
		if n > 0 && !l.srv.loop.call(func() {
			if !s.closed {
				s.inner.onData(buf[:n], atNs, kernel)
			}
		}) {
			return
		}
		if err != nil {
			l.srv.loop.post(func() {
				if !s.closed {
					s.closed = true
					delete(l.open, s)
					s.sock.close()
					s.inner.onClosed()
				}
			})
			return
		}
	}
}

func (s *secureSocket) onData(b []byte, atNs int64, kernel bool) {
	s.mu.Lock()
	s.in = append(s.in, cipherSegment{append([]byte(nil), b...), atNs, kernel})
	s.mu.Unlock()
	s.more.Signal()
}

func (s *secureSocket) onClosed() {
	delete(s.layer.open, s)
	s.failReads(io.EOF)
}

func (s *secureSocket) failReads(err error) {
	s.mu.Lock()
	s.inErr = err
	s.mu.Unlock()
	s.more.Broadcast()
}

// onWritable sends on; the plain side goes on when all ciphertext is gone.
func (s *secureSocket) onWritable() {
	if err := s.flush(); err != nil || s.backedUp() {
		return
	}
	switch {
	case s.closing:
		s.closing = false
		delete(s.layer.open, s)
		s.sock.close()
		s.failReads(net.ErrClosed)
	case s.inner != nil:
		s.inner.onWritable()
	}
}

// flush hands ciphertext to the socket; called by the loop.
func (s *secureSocket) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flushed == len(s.out) {
		return nil
	}
	n, err := s.sock.write(s.out[s.flushed:])
	s.flushed += n
	if s.flushed == len(s.out) {
		s.out, s.flushed = s.out[:0], 0
	}
	return err
}

func (s *secureSocket) backedUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flushed < len(s.out)
}

func (s *secureSocket) write(b []byte) (int, error) {
	if s.closed {
		return 0, net.ErrClosed
	}
	if s.backedUp() {
		return 0, nil
	}
	s.ends = s.ends[:0]
	took := 0
	for took < len(b) {
		// Blocks never: what it encrypts is appended to out. A megabyte at a time bounds what waits for a slow reader.
		n, err := s.encrypt(b[took:min(len(b), took+1<<20)])
		took += n
		if err == nil {
			err = s.flush()
		}
		if err != nil {
			return took, err
		}
		if s.backedUp() {
			break
		}
	}
	return took, nil
}

// encrypt appends records to out and notes where they end. All are longer than their plain bytes by the same number of bytes.
func (s *secureSocket) encrypt(b []byte) (int, error) {
	s.mu.Lock()
	wire, plain := s.made, s.written
	s.records = s.records[:0]
	s.mu.Unlock()
	n, err := s.tls.Write(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if count := int64(len(s.records)); count > 0 {
		overhead := (s.records[count-1] - wire - int64(n)) / count
		for _, end := range s.records {
			s.written += end - wire - overhead
			wire = end
			s.ends = append(s.ends, recordEnd{s.written, wire})
		}
		s.written = plain + int64(n) // with padding, records differ in their overhead
		s.ends[len(s.ends)-1].plain = s.written
	}
	return n, err
}

func (s *secureSocket) departures() *departures {
	if d, ok := s.sock.(departing); ok {
		return d.departures()
	}
	return nil
}

// wireEnd implements departing: a byte has left when its whole record has.
func (s *secureSocket) wireEnd(end int64) int64 {
	i, _ := slices.BinarySearchFunc(s.ends, end, func(e recordEnd, end int64) int { return cmp.Compare(e.plain, end) })
	if i == len(s.ends) {
		return never // not written: a write that took it would have noted it
	}
	return s.ends[i].wire
}

func (s *secureSocket) close() {
	if s.closed {
		return
	}
	s.closed = true
	_ = s.tls.CloseWrite()
	_ = s.flush()
	if s.backedUp() {
		s.closing = true
		return
	}
	delete(s.layer.open, s)
	s.sock.close()
	s.failReads(net.ErrClosed)
}

func (s *secureSocket) reset() {
	s.closed = true
	delete(s.layer.open, s)
	s.sock.reset()
	s.failReads(net.ErrClosed)
}

// cipherConn is the secureSocket as crypto/tls sees it: reads block for ciphertext, writes go to the loop.
type cipherConn secureSocket

func (c *cipherConn) Read(b []byte) (int, error) {
	s := (*secureSocket)(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.in) == 0 {
		if s.inErr != nil {
			return 0, s.inErr
		}
		s.more.Wait()
	}
	// A segment a read, so that the time is that of the bytes returned.
	segment := &s.in[0]
	n := copy(b, segment.b)
	s.readNs, s.kernel = segment.atNs, segment.kernel
	if segment.b = segment.b[n:]; len(segment.b) == 0 {
		s.in[0] = cipherSegment{}
		s.in = s.in[1:]
	}
	return n, nil
}

func (c *cipherConn) Write(b []byte) (int, error) {
	s := (*secureSocket)(c)
	s.mu.Lock()
	made := len(s.out)
	if s.tickets != nil {
		var err error
		if s.out, err = s.tickets.shift(s.out, b); err != nil {
			s.mu.Unlock()
			return 0, err
		}
	} else {
		s.out = append(s.out, b...)
	}
	s.made += int64(len(s.out) - made)
	s.records = append(s.records, s.made)
	closed := errors.Is(s.inErr, net.ErrClosed)
	s.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	// The loop flushes right after its own writes; those of the handshake and of HTTP/2 come from other goroutines.
	s.layer.srv.loop.flushLater(s)
	return len(b), nil
}

func (c *cipherConn) Close() error                     { return nil }
func (c *cipherConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *cipherConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *cipherConn) SetDeadline(time.Time) error      { return nil }
func (c *cipherConn) SetReadDeadline(time.Time) error  { return nil }
func (c *cipherConn) SetWriteDeadline(time.Time) error { return nil }
