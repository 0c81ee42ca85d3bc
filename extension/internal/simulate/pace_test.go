package simulate

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sendsOf asks for a stream of tokens and returns when each left, counted from the request's begin.
func sendsOf(t *testing.T, s *Server, tokens string, fault string) []int64 {
	t.Helper()
	s.Reset()
	r := ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":`+tokens+`,"ignore_eos":true,"stream":true,"simulate":{`+fault+`}}`)
	require.NoError(t, r.err)
	require.True(t, strings.HasSuffix(strings.TrimSpace(r.body), "[DONE]"))
	var sends []int64
	truth := s.Truth().Requests[0]
	for _, send := range truth.SendsNs {
		sends = append(sends, send[0]-truth.BeginNs)
	}
	return sends
}

// No event is early, whatever the pace: late ones are the machine's.
func requireNotBefore(t *testing.T, sends []int64, dueNs func(k int) int64) {
	t.Helper()
	for k, atNs := range sends {
		require.GreaterOrEqual(t, atNs, dueNs(k)-mostEarlyNs, "token %d", k)
	}
}

// mostEarlyNs is the doubt of the offset between the kernel's clock and ours.
const mostEarlyNs = 100_000

// A stall whose stream catches up holds back what falls due in it and moves nothing else: the tokens come in a burst, and the
// timetable stays, so that most gaps behind a long stall are none and the last token is not late.
func TestCatchUp(t *testing.T) {
	s := start(t, paced(0, 2*time.Millisecond))
	dueNs := func(k int) int64 { return int64(k) * 2 * ms }
	sends := sendsOf(t, s, "100", `"stall":10,"stallMs":150,"catchUp":true`)
	require.Len(t, sends, 100)
	requireNotBefore(t, sends, dueNs)
	require.GreaterOrEqual(t, sends[10], int64(170)*ms-mostEarlyNs)
	require.Less(t, s.Truth().ITLMs.P50, 1.0, "75 of 99 gaps lie in the burst")
	require.GreaterOrEqual(t, s.Truth().ITLMs.Max, 140.0)

	// Without catching up the timetable moves with the stall.
	sends = sendsOf(t, s, "100", `"stall":10,"stallMs":150`)
	requireNotBefore(t, sends[10:], func(k int) int64 { return dueNs(k+10) + 150*ms })
}

// The reply that is not streamed comes with its last token: the stall that is caught up does not move it.
func TestCatchUpOfAWholeReply(t *testing.T) {
	s := start(t, paced(0, time.Millisecond))
	for _, row := range []struct {
		fault           string
		leastNs, mostNs int64
	}{
		{`"stall":10,"stallMs":400,"catchUp":true`, 410 * ms, never},
		{`"stall":10,"stallMs":300`, 499 * ms, never},
		{`"stall":10,"stallMs":1500,"catchUp":true,"itlMs":10`, 1990 * ms, 3490 * ms},
	} {
		s.Reset()
		r := ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":200,"ignore_eos":true,"simulate":{`+row.fault+`}}`)
		require.NoError(t, r.err)
		truth := s.Truth().Requests[0]
		require.GreaterOrEqual(t, truth.SendsNs[0][0]-truth.BeginNs, row.leastNs-mostEarlyNs, row.fault)
		require.Less(t, truth.SendsNs[0][0]-truth.BeginNs, row.mostNs, row.fault)
	}
}

// The tokens of a burst are due together, at the same mean rate.
func TestBurst(t *testing.T) {
	s := start(t, paced(10*time.Millisecond, 4*time.Millisecond))
	for _, oneWrite := range []string{"", `,"oneWrite":true`} {
		sends := sendsOf(t, s, "50", `"burst":5`+oneWrite)
		requireNotBefore(t, sends, func(k int) int64 { return 10*ms + int64(k/5)*20*ms })
		require.Less(t, s.Truth().ITLMs.P50, 2.0, "four of five gaps lie within a burst")
		if oneWrite != "" {
			for k := range sends {
				require.Equal(t, sends[k-k%5], sends[k], "a write is a segment")
			}
		}
	}
	require.Error(t, (&Fault{Burst: -1}).validate())
}

// All streams stop together and catch up together, and no stream's timetable moves.
func TestServerStalls(t *testing.T) {
	s := start(t, func(c *Config) {
		paced(0, 2*time.Millisecond)(c)
		c.Pacing.StallEvery, c.Pacing.StallFor, c.Pacing.CatchUp = 200*time.Millisecond, 150*time.Millisecond, true
	})
	sends := sendsOf(t, s, "300", "")
	requireNotBefore(t, sends, func(k int) int64 { return int64(k) * 2 * ms })
	stalls := 0
	for k := 1; k < len(sends); k++ {
		if sends[k]-sends[k-1] > 100*ms {
			stalls++
		}
	}
	require.GreaterOrEqual(t, stalls, 2, "of 600 ms three quarters are stalls")
	require.Less(t, s.Truth().ITLMs.P50, 1.0)

	for _, wrong := range []Pacing{
		{Scheduled: true, StallFor: time.Second},
		{Scheduled: true, StallEvery: time.Second},
		{Scheduled: true, StallEvery: time.Second, StallFor: time.Second},
		{StallEvery: time.Second, StallFor: time.Millisecond},
		{CatchUp: true},
	} {
		_, err := Start(Config{Pacing: wrong})
		require.Error(t, err, "%+v", wrong)
	}
}

// Events of sse-starlette end in CRLF CRLF, and so their HTTP chunk in three.
func TestCRLFStream(t *testing.T) {
	s := start(t, nil)
	nc := dial(t, s)
	say(t, nc, []byte(strings.Replace(string(post(pathCompletions, `{"prompt":"a","max_tokens":3,"ignore_eos":true,"stream":true,"simulate":{"lineEnd":"crlf"}}`)),
		"Host: x", "Connection: close", 1)))
	raw := readAll(t, nc)
	require.GreaterOrEqual(t, strings.Count(raw, "}\r\n\r\n\r\n"), 3)
	require.NotContains(t, strings.ReplaceAll(raw, "\r\n", ""), "\n")
	require.Contains(t, raw, "data: [DONE]\r\n\r\n\r\n0\r\n\r\n")
}

func readAll(t *testing.T, nc net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(nc)
	require.NoError(t, err)
	return string(b)
}
