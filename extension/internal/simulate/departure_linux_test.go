package simulate

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/wiretap"
)

// tap captures a server's port, or skips the test.
func tap(t *testing.T, s *Server) *wiretap.Tap {
	t.Helper()
	port, err := strconv.Atoi(s.URL[strings.LastIndexByte(s.URL, ':')+1:])
	require.NoError(t, err)
	wire, err := wiretap.Open("lo", port)
	if errors.Is(err, wiretap.ErrNotAllowed) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return wire
}

// wallMinusClockNs is the wall clock's offset from the run's, by readings of our own: the closest of many.
func wallMinusClockNs() int64 {
	closest, offsetNs := never, int64(0)
	for range 200 {
		before := clock.Now()
		wallNs := time.Now().UnixNano()
		if width := clock.Now() - before; width < closest {
			closest, offsetNs = width, wallNs-before-width/2
		}
	}
	return offsetNs
}

// wireNs converts a moment of the capture, on the wall clock, to the truth's clock.
func wireNs(offsetNs int64, m wiretap.Moment) int64 { return m.SentNs - offsetNs }

// The kernel's time of a packet is read through the offset of two clocks, which is known to some microseconds. A transmit stamp
// is taken a moment behind the capture's, and where an interrupt comes between it is later. A time of user space is off by
// milliseconds where the thread was preempted.
const (
	mostOffNs   = 50_000
	fewOffShare = 0.01
)

// requireTimes holds times against those on the wire.
func requireTimes(t *testing.T, truth, wire []int64) {
	t.Helper()
	require.Len(t, truth, len(wire))
	off := 0
	for i := range truth {
		if d := truth[i] - wire[i]; d > mostOffNs || d < -mostOffNs {
			off++
		}
	}
	require.LessOrEqual(t, float64(off), fewOffShare*float64(len(wire)), "%d of %d events are off", off, len(wire))
}

// busy keeps other processes running beside the server, so that its thread is preempted.
func busy(t *testing.T, loops int) {
	t.Helper()
	for range loops {
		loop := exec.Command("timeout", "60", "sh", "-c", "while :; do :; done")
		require.NoError(t, loop.Start())
		t.Cleanup(func() {
			_ = loop.Process.Signal(syscall.SIGTERM) // which timeout hands on
			_ = loop.Wait()
		})
	}
}

// The truth is what left the host, also while others keep the server from running: an independent capture says the same of
// each event, on IPv4 and IPv6, with merged writes, bursts, stalls and CRLF.
func TestTruthIsWhatLeft(t *testing.T) {
	for _, source := range []string{"ring", "transmit"} {
		for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
			s := start(t, func(c *Config) {
				paced(5*time.Millisecond, time.Millisecond)(c)
				c.Listen, c.TruthSource = listen, source
				c.Faults = []Fault{{LineEnd: "crlf", Burst: 3}}
			})
			wire := tap(t, s)
			busy(t, 4)
			const streams, tokens = 8, 100
			var group sync.WaitGroup
			for i := range streams {
				group.Add(1)
				go func() {
					defer group.Done()
					for k, more := range []string{`{"stall":20,"stallMs":20,"catchUp":true}`, `{"eventsPerChunk":4}`} {
						ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":100,"ignore_eos":true,"stream":true,"simulate":`+more+`}`,
							"X-Request-Id", strconv.Itoa(2*i+k))
					}
				}()
			}
			group.Wait()
			report, offsetNs := s.Truth(), wallMinusClockNs()
			capture, err := wire.Close()
			require.NoError(t, err)
			require.Zero(t, capture.Drops)
			exchanges, err := capture.Exchanges()
			require.NoError(t, err)
			require.Len(t, exchanges, 2*streams)
			events := map[string][]wiretap.Event{}
			for _, x := range exchanges {
				events[x.ID] = x.Events
			}
			var truth, seen []int64
			for _, r := range report.Requests {
				require.Len(t, r.SendsNs, tokens)
				for k, send := range r.SendsNs {
					truth, seen = append(truth, send[0]), append(seen, wireNs(offsetNs, events[r.ID][k].Moment))
				}
			}
			requireTimes(t, truth, seen)
			require.Equal(t, source, report.Source.Sends)
			require.Zero(t, report.Source.User, "%+v", report.Source)
			require.EqualValues(t, 2*streams*tokens, report.Source.Ring+report.Source.Transmit)
		}
	}
}

// Over TLS an event leaves with the segment that completes its record.
func TestTruthOverTLSIsWhatLeft(t *testing.T) {
	s := start(t, func(c *Config) {
		paced(5*time.Millisecond, time.Millisecond)(c)
		c.TLS, c.TLSTickets, c.TruthSource = true, 2, "auto"
	})
	wire := tap(t, s)
	busy(t, 4)
	nc, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "https://"), &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer func() { _ = nc.Close() }()
	const tokens = 300
	in := bufio.NewReader(nc)
	for range 2 {
		_, err = nc.Write(post(pathCompletions, `{"prompt":"a","max_tokens":300,"ignore_eos":true,"stream":true}`))
		require.NoError(t, err)
		response, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, tokens, strings.Count(string(body), `"text":"`))
	}
	report, offsetNs := s.Truth(), wallMinusClockNs()
	capture, err := wire.Close()
	require.NoError(t, err)
	require.Len(t, report.Requests, 2)
	require.Zero(t, report.Source.User)
	require.Len(t, capture.Flows, 1)
	// The records: handshake, two tickets, then for each request the head (with or without the first event), an event each
	// (the finish reason shares the last) and the rest. Every event's time is one of theirs.
	var records []int64
	for _, r := range capture.Flows[0].FromServer.Records() {
		records = append(records, wireNs(offsetNs, r.Moment))
	}
	require.Greater(t, len(records), 2*tokens)
	var truth, seen []int64
	at := 0
	for _, r := range report.Requests {
		for _, send := range r.SendsNs {
			for at+1 < len(records) && records[at] < send[0]-mostOffNs {
				at++
			}
			truth, seen = append(truth, send[0]), append(seen, records[at])
			at++
		}
	}
	requireTimes(t, truth, seen)
}

// Where the kernel tells nothing, the truth says so and how wide its times are.
func TestTruthWithoutTheKernel(t *testing.T) {
	for _, portable := range []bool{false, true} {
		s := start(t, func(c *Config) {
			c.Portable = portable
			if !portable {
				c.TruthSource = "user"
			}
		})
		ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":20,"ignore_eos":true,"stream":true}`)
		source := s.Truth().Source
		require.Equal(t, "user", source.Sends)
		require.NotEmpty(t, source.Why)
		require.EqualValues(t, 20, source.User)
		require.EqualValues(t, 20, source.WidthMs.Count)
		require.Positive(t, source.WidthMs.Max)
	}
	_, err := Start(Config{TruthSource: "ring", Portable: true})
	require.ErrorContains(t, err, "truth source ring")
	_, err = Start(Config{TruthSource: "sundial"})
	require.ErrorContains(t, err, `truth source "sundial"`)
}

// A client that reads late gets its bytes late, and the truth says when they left, not when they were written.
func TestTruthOfASlowReader(t *testing.T) {
	s := start(t, func(c *Config) { paced(0, 0)(c); c.EventsPerWrite = 64 })
	wire := tap(t, s)
	nc := dial(t, s)
	require.NoError(t, nc.(*net.TCPConn).SetReadBuffer(128<<10))
	say(t, nc, post(pathCompletions, `{"prompt":"a","max_tokens":8000,"ignore_eos":true,"stream":true}`))
	// All is written to the socket's buffer or waits behind it; the window is closed.
	require.Eventually(t, func() bool { return s.Truth().OutputTokens > 1000 }, testLimit, time.Millisecond)
	time.Sleep(300 * time.Millisecond) // the pause that is to be seen
	response, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	report, offsetNs := s.Truth(), wallMinusClockNs()
	capture, err := wire.Close()
	require.NoError(t, err)
	exchanges, err := capture.Exchanges()
	require.NoError(t, err)
	require.Len(t, exchanges, 1)
	sends := report.Requests[0].SendsNs
	var truth, seen []int64
	longestNs := int64(0)
	for k := range sends {
		truth, seen = append(truth, sends[k][0]), append(seen, wireNs(offsetNs, exchanges[0].Events[k].Moment))
		if k > 0 {
			longestNs = max(longestNs, sends[k][0]-sends[k-1][0])
		}
	}
	requireTimes(t, truth, seen)
	require.Greater(t, longestNs, 200*ms)
}
