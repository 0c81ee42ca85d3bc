//go:build linux && (amd64 || arm64)

package client

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/reader"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

func TestStampsAreTheKernelsWhereverThereIsTCP(t *testing.T) {
	on := func(network, address string) func(*testing.T) (string, func(*Options)) {
		return func(t *testing.T) (string, func(*Options)) {
			l, err := net.Listen(network, address)
			if err != nil {
				t.Skip(err)
			}
			serve(t, l, answerThree)
			if network == "unix" {
				return "unix://" + address + ":/", nil
			}
			return "http://" + l.Addr().String() + "/", nil
		}
	}
	two := func(secure bool) func(*testing.T) (string, func(*Options)) {
		return func(t *testing.T) (string, func(*Options)) {
			s := serveHTTP2(t, secure, answerHTTP2)
			return s.url, s.client
		}
	}
	for _, tt := range []struct {
		over         string
		serve        func(*testing.T) (url string, options func(*Options))
		kernel, sent bool
	}{
		{"IPv4", on("tcp4", "127.0.0.1:0"), true, true},
		{"IPv6", on("tcp6", "[::1]:0"), true, true},
		{"Go's poller", func(t *testing.T) (string, func(*Options)) {
			url, _ := on("tcp4", "127.0.0.1:0")(t)
			return url, func(o *Options) { o.Streamed = false }
		}, true, ringed()},
		{"TLS", func(t *testing.T) (string, func(*Options)) {
			return serveOverTLS(t, func(p *bodyPeer) {
				for p.request() != nil && answerThree(p.Conn, nil, 0) {
				}
			})
		}, true, true},
		{"HTTP/2", two(false), true, true},
		{"HTTP/2 and TLS", two(true), true, true},
		{"a Unix socket", on("unix", filepath.Join(t.TempDir(), "s")), false, false},
	} {
		t.Run(tt.over, func(t *testing.T) {
			url, options := tt.serve(t)
			c := newClient(t, url, options)
			for range 3 { // the first on a new connection
				m := c.Do(t.Context(), &Request{Body: []byte("{}")})
				require.Equal(t, stream.None, m.Failure, m.Message)
				if tt.kernel {
					require.Positive(t, m.KernelReceives)
					require.Zero(t, m.UserReceives)
				} else {
					require.Positive(t, m.UserReceives)
					require.Zero(t, m.KernelReceives)
				}
				require.Equal(t, tt.sent, m.SentKernel)
				require.Equal(t, tt.sent, m.SentUncertaintyNs == 0)
				m.Release()
			}
		})
	}
}

// ringed reports whether times come from a packet ring here.
func ringed() bool { return sharedRing() != nil }

// stamps has the connections of a test opened from now on take their times from a source.
func stamps(t *testing.T, s Stamps) {
	before := stampsAsked.Load()
	UseStamps(s)
	t.Cleanup(func() { stampsAsked.Store(before) })
}

func TestStamps_EachSourceIsTheRequestedOne(t *testing.T) {
	for _, tt := range []struct {
		stamps       Stamps
		streamed     bool
		ring, kernel bool
	}{
		{StampsAuto, true, ringed(), true},
		{StampsAuto, false, ringed(), true},
		{StampsSocket, true, false, true},
		{StampsSocket, false, false, true},
		{StampsUser, true, false, false},
		{StampsUser, false, false, false},
	} {
		t.Run(fmt.Sprintf("%s, streamed %v", tt.stamps, tt.streamed), func(t *testing.T) {
			stamps(t, tt.stamps)
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			require.NoError(t, err)
			serve(t, l, answerThree)
			c := newClient(t, "http://"+l.Addr().String()+"/", func(o *Options) { o.Streamed = tt.streamed })
			for range 3 {
				m := c.Do(t.Context(), &Request{Body: []byte("{}")})
				require.Equal(t, stream.None, m.Failure, m.Message)
				require.Equal(t, tt.ring, m.RingReceives > 0)
				require.Equal(t, tt.kernel, m.KernelReceives > 0)
				require.Equal(t, tt.kernel, m.UserReceives == 0)
				m.Release()
			}
			c.CloseIdle()
		})
	}
}

func TestStamps_OtherSourcesPassTheSameTests(t *testing.T) {
	for name, without := range map[string]func(t *testing.T){
		"the reader thread": func(t *testing.T) { stamps(t, StampsSocket) },
		"goroutines": func(t *testing.T) {
			stamps(t, StampsSocket)
			shared := sharedReader
			sharedReader = func() *reader.Reader { return nil }
			t.Cleanup(func() { sharedReader = shared })
		},
		"user": func(t *testing.T) { stamps(t, StampsUser) },
	} {
		t.Run(name, func(t *testing.T) {
			without(t)
			again(t)
		})
	}
}

// again runs the tests of the client once more.
func again(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"a stream":             TestClient_MeasuresAStreamAndReusesItsConnection,
		"bad ends":             TestFailures_EveryBadEndHasItsClass,
		"closed connections":   TestRetry_ClosedKeepAliveConnectionLosesNoRequest,
		"cancels and aborts":   TestCancelledAndAbortedRequestsEndAtOnce,
		"prepared requests":    TestPrepare_ManyRequestsAreReleasedTogether,
		"large requests":       TestLargeRequestsArriveWhole,
		"TLS and Unix sockets": TestTLSAndUnixSockets,
		"HTTP/2":               TestHTTP2StreamsCarryTheTimeOfTheirReceive,
		"open ends":            TestOpenEnd_CompleteStreamStaysComplete,
		"nobody reads":         TestDeafServer_RequestEndsWithItsContext,
		"exchanges":            TestBodiesAndReuse,
		"all at once":          TestStress_EveryRequestEndsOnceAndAsItWasAnswered,
	} {
		t.Run(name, test)
	}
}
