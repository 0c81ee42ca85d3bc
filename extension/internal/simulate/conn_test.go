package simulate

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// status sends bytes and returns the status of the response.
func status(t *testing.T, s *Server, request string) int {
	t.Helper()
	nc := dial(t, s)
	say(t, nc, []byte(request))
	response, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(t, err, request)
	_, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode
}

func TestRequestForms(t *testing.T) {
	s := start(t, nil)
	body := `{"output_tokens":3}`
	for name, row := range map[string]struct {
		request string
		status  int
	}{
		"plain":              {"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"HTTP/1.0":           {"GET /health HTTP/1.0\r\n\r\n", 200},
		"absolute form":      {"GET http://x/health HTTP/1.1\r\n\r\n", 200},
		"bytes before":       {"\r\n\r\nGET /health HTTP/1.1\r\n\r\n", 200},
		"chunked body":       {"POST /tokenizer HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n" + chunked(body, 5) + "0\r\n\r\n", 200},
		"chunk extension":    {"POST /tokenizer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x;a=b\r\n%s\r\n0\r\nTrailer: x\r\n\r\n", len(body), body), 200},
		"no HTTP":            {"hello\r\n\r\n", 400},
		"HTTP/2 preface":     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
		"header without a :": {"GET /health HTTP/1.1\r\nHost\r\n\r\n", 400},
		"length":             {"POST /tokenizer HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400},
		"unknown encoding":   {"POST /tokenizer HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
		"chunk size":         {"POST /tokenizer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		"huge body":          {"POST /tokenizer HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413},
		"huge head":          {"GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 20_000), 413},
	} {
		require.Equal(t, row.status, status(t, s, row.request), name)
	}
}

func chunked(body string, size int) string {
	out := ""
	for len(body) > 0 {
		n := min(size, len(body))
		out += fmt.Sprintf("%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return out
}

// However the bytes of several requests on one connection are cut into segments, each is answered, in order.
func TestSegments(t *testing.T) {
	s := start(t, nil)
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		var wire []byte
		const requests = 8
		for i := range requests {
			body := fmt.Sprintf(`{"output_tokens":%d}`, i)
			if rng.IntN(2) == 0 {
				wire = append(wire, post(pathTokenizer, body)...)
			} else {
				wire = fmt.Appendf(wire, "POST /tokenizer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n", chunked(body, 1+rng.IntN(9)))
			}
		}
		nc := dial(t, s)
		go func() {
			for rest := wire; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(120))
				if _, err := nc.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		in := bufio.NewReader(nc)
		for i := range requests {
			response, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			b, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.Contains(t, string(b), fmt.Sprintf(`"output_tokens":%d,`, i))
		}
	}
}

// A request that comes while another is answered waits for its turn.
func TestPipelinedStreams(t *testing.T) {
	s := start(t, paced(0, 1e6))
	nc := dial(t, s)
	say(t, nc, append(post(pathChat, faulty("")), post(pathChat, faulty(""))...))
	in := bufio.NewReader(nc)
	for range 2 {
		response, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		b, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Contains(t, string(b), "[DONE]")
	}
}

func TestExpectContinue(t *testing.T) {
	s := start(t, nil)
	nc := dial(t, s)
	say(t, nc, []byte("POST /tokenizer HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 19\r\n\r\n"))
	in := bufio.NewReader(nc)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = in.ReadString('\n')
	require.NoError(t, err)
	say(t, nc, []byte(`{"output_tokens":3}`))
	response, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, 200, response.StatusCode)
}

func TestHead(t *testing.T) {
	s := start(t, nil)
	nc := dial(t, s)
	say(t, nc, []byte("HEAD /v1/models HTTP/1.1\r\n\r\nGET /health HTTP/1.0\r\n\r\n"))
	b, err := io.ReadAll(nc)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(b), "200 OK"))
	require.NotContains(t, string(b), "simulated")
}

// Any split of a chunked body decodes to the body.
func TestUnchunk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		body := string(rapid.SliceOf(rapid.Byte()).Draw(rt, "body"))
		wire := chunked(body, rapid.IntRange(1, 40).Draw(rt, "size")) + "0\r\nA: b\r\n\r\n"
		after := "GET"
		var u unchunk
		var in []byte
		done := false
		for rest := wire + after; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "n")
			in = append(in, rest[:n]...)
			rest = rest[n:]
			if done {
				continue
			}
			used, complete, err := u.read(in)
			if err != nil {
				rt.Fatal(err)
			}
			in, done = in[used:], complete
		}
		if !done || string(u.body) != body || string(in) != after {
			rt.Fatalf("done %v, body %q of %q, left %q", done, u.body, body, in)
		}
	})
}

// No head makes the parser panic or read beyond it.
func FuzzParseHead(f *testing.F) {
	f.Add([]byte("GET /x?y=z HTTP/1.1\r\nHost: a\r\nX-Request-Id: 1\r\nExpect: 100-continue\r\n\r\n"))
	f.Add([]byte("POST http:///a HTTP/1.0\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r request
		if r.parseHead(b) == nil && (r.bodyLength < 0 || r.bodyLength > maxBodyBytes) {
			t.Fatalf("length %d", r.bodyLength)
		}
	})
}
