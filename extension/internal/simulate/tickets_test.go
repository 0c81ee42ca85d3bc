package simulate

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// countingCache is a client's session cache that counts the tickets that came.
type countingCache struct {
	tls.ClientSessionCache
	puts atomic.Int64
}

func (c *countingCache) Put(key string, state *tls.ClientSessionState) {
	if state != nil {
		c.puts.Add(1)
	}
	c.ClientSessionCache.Put(key, state)
}

// A connection that was opened and not yet used has unread bytes, as behind OpenSSL's servers; what comes behind them is read
// as ever, and a client may keep the tickets and try them.
func TestTickets(t *testing.T) {
	const count = 2
	s := start(t, func(c *Config) { c.TLS, c.TLSTickets = true, count })
	cache := &countingCache{ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		cache.puts.Store(0)
		for range 2 {
			config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache, ServerName: "localhost", MaxVersion: version}
			client, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "https://"), config)
			require.NoError(t, err)
			require.False(t, client.ConnectionState().DidResume)
			in := bufio.NewReader(client)
			for range 3 {
				_, err = client.Write(post(pathCompletions, `{"prompt":"a","max_tokens":50,"ignore_eos":true,"stream":true}`))
				require.NoError(t, err)
				response, err := http.ReadResponse(in, nil)
				require.NoError(t, err)
				body, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				require.Equal(t, 50, strings.Count(string(body), `"text":"`))
			}
			require.NoError(t, client.Close())
		}
		want := int64(2 * count)
		if version == tls.VersionTLS12 {
			want = 0
		}
		require.Equal(t, want, cache.puts.Load())
	}
	_, err := Start(Config{TLSTickets: 2})
	require.ErrorContains(t, err, "only with TLS")
}

// The tickets come without being asked for, also to a client that does not resume.
func TestTicketsAreUnread(t *testing.T) {
	for _, count := range []int{0, 2} {
		s := start(t, func(c *Config) { c.TLS, c.TLSTickets = true, count })
		nc, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "https://"))
		require.NoError(t, err)
		defer func() { _ = nc.Close() }()
		require.NoError(t, tls.Client(nc, &tls.Config{InsecureSkipVerify: true}).Handshake())
		if count == 0 {
			require.NoError(t, nc.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
			_, err = nc.Read(make([]byte, 1))
			require.True(t, errors.Is(err, os.ErrDeadlineExceeded), "%v", err)
			continue
		}
		require.NoError(t, nc.SetReadDeadline(time.Now().Add(testLimit)))
		for range count {
			header := make([]byte, recordHeaderBytes)
			_, err = io.ReadFull(nc, header)
			require.NoError(t, err)
			require.EqualValues(t, 23, header[0])
			_, err = io.CopyN(io.Discard, nc, int64(header[3])<<8+int64(header[4]))
			require.NoError(t, err)
		}
	}
}
