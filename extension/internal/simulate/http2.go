package simulate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/net/http2"
)

// serveHTTP2 speaks HTTP/2 on a connection that chose it by ALPN. Each stream is translated to a request of HTTP/1.1 on
// a connection inside the process, so it meets the same endpoints and faults (a cut is a reset of the stream). Tokens
// pass one more goroutine on their way out: they reach the kernel some ten microseconds after the truth's time of them.
func (s *Server) serveHTTP2(secure *secureSocket) {
	var server http2.Server
	server.ServeConn(secure.tls, &http2.ServeConnOpts{
		BaseConfig: &http.Server{ErrorLog: nil},
		Handler:    http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serveStream(secure, w, r) }),
	})
	s.loop.post(secure.close)
}

// serveStream answers one HTTP/2 request.
func (s *Server) serveStream(secure *secureSocket, w http.ResponseWriter, r *http.Request) {
	s.secure.group.Add(1)
	defer s.secure.group.Done()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes))
	if err != nil {
		return
	}
	secure.mu.Lock()
	atNs, kernel := secure.readNs, secure.kernel
	secure.mu.Unlock()

	var request bytes.Buffer
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\n", r.Method, r.URL.RequestURI())
	for _, name := range []string{"Content-Type", "X-Request-Id", "X-Simulate", "Authorization", "X-Api-Key", "Api-Key"} {
		if value := r.Header.Get(name); value != "" {
			fmt.Fprintf(&request, "%s: %s\r\n", name, value)
		}
	}
	fmt.Fprintf(&request, "Content-Length: %d\r\n\r\n", len(body))
	request.Write(body)

	pipe := newStreamSocket()
	var inner sink
	if !s.loop.call(func() {
		inner = s.accept(pipe)
		inner.onData(request.Bytes(), atNs, kernel)
	}) {
		panic(http.ErrAbortHandler)
	}
	ended := make(chan struct{})
	defer close(ended)
	s.secure.group.Add(1)
	go func() { // the client may leave before the answer ends
		defer s.secure.group.Done()
		select {
		case <-r.Context().Done():
		case <-ended:
		}
		s.loop.post(func() {
			if !pipe.closed {
				pipe.reset()
				inner.onClosed()
			}
		})
		pipe.fail(net.ErrClosed)
	}()
	response, err := http.ReadResponse(bufio.NewReader(pipe), r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range response.Header {
		if name = strings.ToLower(name); name != "connection" && name != "transfer-encoding" {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
	}
	w.WriteHeader(response.StatusCode)
	controller := http.NewResponseController(w)
	if response.ContentLength < 0 {
		_ = controller.Flush()
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := response.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			if response.ContentLength < 0 {
				_ = controller.Flush()
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// streamSocket is the socket of the connection inside the process: what the loop writes, the stream's goroutine reads.
type streamSocket struct {
	closed bool // the loop's view

	mu   sync.Mutex
	more sync.Cond
	buf  []byte
	err  error
}

func newStreamSocket() *streamSocket {
	p := &streamSocket{}
	p.more.L = &p.mu
	return p
}

func (p *streamSocket) write(b []byte) (int, error) {
	if p.closed {
		return 0, net.ErrClosed
	}
	p.mu.Lock()
	p.buf = append(p.buf, b...)
	p.mu.Unlock()
	p.more.Signal()
	return len(b), nil
}

func (p *streamSocket) close() { p.closed = true; p.fail(io.EOF) }

func (p *streamSocket) reset() { p.closed = true; p.fail(io.ErrUnexpectedEOF) }

// fail ends reads once the buffer is empty.
func (p *streamSocket) fail(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	p.more.Broadcast()
}

func (p *streamSocket) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.buf) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		p.more.Wait()
	}
	n := copy(b, p.buf)
	p.buf = p.buf[:copy(p.buf, p.buf[n:])]
	return n, nil
}
