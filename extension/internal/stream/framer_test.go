package stream

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// framed is what a framer makes of bytes: the body, and whether and how it ended.
type framed struct {
	body       string
	status     int
	state      framerState
	left       int // bytes that were not consumed
	persistent bool
	problem    string
}

func frameWhole(s string) framed {
	var f framer
	f.reset()
	var body []byte
	b := []byte(s)
	for len(b) > 0 && f.state < stateComplete {
		part, n := f.next(b)
		body = append(body, part...)
		b = b[n:]
	}
	return framed{string(body), f.status, f.state, len(b), f.persistent, f.problem}
}

func frameBytes(s string) framed {
	var f framer
	f.reset()
	var body []byte
	left := len(s)
	for i := 0; i < len(s) && f.state < stateComplete; i++ {
		part, n := f.next([]byte{s[i]})
		body = append(body, part...)
		left -= n
	}
	return framed{string(body), f.status, f.state, left, f.persistent, f.problem}
}

func TestFramerReads(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		sentence, bytes, body string
		state                 framerState
		persistent            bool
	}{
		{"A length bounds the body.", ok + "Content-Length: 3\r\n\r\nabc", "abc", stateComplete, true},
		{"A length of 0 has no body.", ok + "Content-Length: 0\r\n\r\n", "", stateComplete, true},
		{"A length repeated with the same number is one length.", ok + "content-length: 3, 3\r\ncontent-length:3\r\n\r\nabc", "abc", stateComplete, true},
		{"Chunks are joined.", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", stateComplete, true},
		{"Chunk sizes may have capitals and leading zeros.", ok + "Transfer-Encoding: Chunked\r\n\r\n000b\r\n0123456789a\r\n0\r\n\r\n", "0123456789a", stateComplete, true},
		{"Chunk extensions are skipped.", ok + "Transfer-Encoding: chunked\r\n\r\n3;a=\"b;c\"\r\nabc\r\n0 ; x\r\n\r\n", "abc", stateComplete, true},
		{"Trailers are skipped.", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nServer-Timing: x\r\nA:\r\n\r\n", "a", stateComplete, true},
		{"Without a length the end of the connection ends the body.", ok + "\r\nabc", "abc", stateUntilEOF, false},
		{"204 has no body.", "HTTP/1.1 204 No Content\r\n\r\n", "", stateComplete, true},
		{"304 has no body, whatever its length says.", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", stateComplete, true},
		{"Interim responses are skipped, with their headers.", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nConnection: close\r\nContent-Length: 7\r\n\r\n" + ok + "Content-Length: 1\r\n\r\na", "a", stateComplete, true},
		{"Nobody asked to switch protocols: that is final, and the connection is no longer HTTP.", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "", stateComplete, false},
		{"Connection: close ends it.", ok + "Connection: Keep-Alive, Close\r\nContent-Length: 1\r\n\r\na", "a", stateComplete, false},
		{"HTTP/1.0 closes.", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "a", stateComplete, false},
		{"HTTP/1.0 stays open if it says so.", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", "a", stateComplete, true},
		{"HTTP/1.0 with chunks is read, then closed.", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "a", stateComplete, false},
		{"Chunks win over a length, and the connection is closed.", ok + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "a", stateComplete, false},
		{"Lines may end in LF alone.", "HTTP/1.1 200 OK\nContent-Length: 1\n\na", "a", stateComplete, true},
		{"So may those around chunks.", ok + "Transfer-Encoding: chunked\n\n1\na\n2;x\nbc\n0\nA: b\n\n", "abc", stateComplete, true},
		{"A reason is not needed.", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", "a", stateComplete, true},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			got := frameWhole(tt.bytes)
			require.Equal(t, tt.state, got.state, got.problem)
			require.Equal(t, tt.body, got.body)
			require.Equal(t, tt.persistent, got.persistent)
			require.Zero(t, got.left)
			require.Equal(t, got, frameBytes(tt.bytes), "byte by byte")
		})
	}
}

func TestFramerRefuses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct{ sentence, bytes, problem string }{
		{"Another protocol.", "SSH-2.0-OpenSSH_9.6\r\n", "not HTTP/1"},
		{"HTTP/2 without HTTP/1 asking for it.", "HTTP/2 200 OK\r\n", "not HTTP/1"},
		{"A status that is no number.", "HTTP/1.1 2x0 OK\r\n", "not a number"},
		{"A status of four digits.", "HTTP/1.1 2000 OK\r\n", "not HTTP/1"},
		{"A status below 100.", "HTTP/1.1 099 OK\r\n", "out of range"},
		{"A header without a colon.", ok + "Content-Length 3\r\n", "no name"},
		{"A header whose name ends in a space.", ok + "Content-Length : 3\r\n", "no name"},
		{"A folded header.", ok + "A: b\r\n c: d\r\n", "no name"},
		{"A length that is no number.", ok + "Content-Length: abc\r\n", "Content-Length"},
		{"A length with a sign.", ok + "Content-Length: +3\r\n", "Content-Length"},
		{"An empty length.", ok + "Content-Length:\r\n", "Content-Length"},
		{"Two lengths.", ok + "Content-Length: 3\r\nContent-Length: 4\r\n", "Content-Length"},
		{"A coding that was not asked for.", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding"},
		{"Chunked twice.", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding"},
		{"A head without an end.", ok + strings.Repeat("A: b\r\n", maxHeadBytes/6), "longer than 65536"},
		{"A line without an end.", ok + "A: " + strings.Repeat("b", maxHeadBytes), "longer than 65536"},
		{"Interim responses without an end.", strings.Repeat("HTTP/1.1 102 P\r\n\r\n", maxHeadBytes/18+1), "longer than 65536"},
		{"A chunk without a size.", chunked + "\r\n", "no size"},
		{"A size that is no number.", chunked + "xyz\r\n", "no size"},
		{"A size with a sign.", chunked + "-1\r\n", "no size"},
		{"A size with something else in it.", chunked + "1_0\r\n", "holds the byte"},
		{"A size that would overflow.", chunked + "ffffffffffffffff\r\n", "15 digits"},
		{"An extension without an end.", chunked + "1;" + strings.Repeat("x", maxExtensionBytes+1), "extension"},
		{"A chunk longer than its size.", chunked + "1\r\nab\r\n", "line break"},
		{"A chunk with another byte after it.", chunked + "1\r\nab\n", "line break"},
		{"A chunk with another byte after its CR.", chunked + "1\r\na\rb", "line break"},
		{"A trailer without a name.", chunked + "0\r\nx\r\n", "trailer"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			got := frameWhole(tt.bytes)
			require.Equal(t, stateBroken, got.state)
			require.Contains(t, got.problem, tt.problem)
			require.Equal(t, stateBroken, frameBytes(tt.bytes).state, "byte by byte")
		})
	}
}

func TestFramerKeepsBytesAfterTheEnd(t *testing.T) {
	require.Equal(t, 3, frameWhole("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naxyz").left)
	require.Equal(t, 2, frameWhole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n").left)
}

func TestFramerRemaining(t *testing.T) {
	var f framer
	f.reset()
	feed := func(s string) {
		for b := []byte(s); len(b) > 0; {
			_, n := f.next(b)
			b = b[n:]
		}
	}
	require.EqualValues(t, -1, f.remaining())
	feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
	require.EqualValues(t, -1, f.remaining(), "the head may still say chunked")
	feed("\r\n")
	require.EqualValues(t, 5, f.remaining())
	feed("ab")
	require.EqualValues(t, 3, f.remaining())
	feed("cde")
	require.EqualValues(t, 0, f.remaining())
}
