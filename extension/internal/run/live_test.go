package run

import (
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

func TestLive_LineShowsProgress(t *testing.T) {
	const s = 1000 * msNs
	p := progress{ns: 20 * s}
	for _, tt := range []struct {
		sentence string
		of       tally.Progress
		sent     int64
		left     int
		counted  bool
		last     bool
		line     string
	}{
		{"before anything", tally.Progress{}, 0, 0, false, false, "live: scheduled 0, sent 0, in flight 0, completed 0, failed 0; 0 tok/s"},
		{
			"a level by time",
			tally.Progress{
				Level: "c8", CloseNs: 32 * s, Scheduled: 120, Completed: 108, Failed: 2, OutputTokens: 7770, TTFTs: 9, TTFTP50: 12.34e6, TTFTP99: 300e6,
			},
			118, 0, false, false,
			"live: level c8; scheduled 120, sent 118, in flight 8, completed 108, failed 2; 777 tok/s, TTFT p50 12.3 ms, p99 300.0 ms; 12 s left",
		},
		{"a level by requests", tally.Progress{Level: "c8", Scheduled: 4, Completed: 1}, 3, 96, true, false,
			"live: level c8; scheduled 4, sent 3, in flight 2, completed 1, failed 0; 0 tok/s; 96 requests left"},
		{"a window that is over", tally.Progress{Level: "c8", CloseNs: 19 * s}, 0, 0, true, false,
			"live: level c8; scheduled 0, sent 0, in flight 0, completed 0, failed 0; 0 tok/s"},
		{"batches of one slot", tally.Progress{Scheduled: 1}, 8, 0, false, false,
			"live: scheduled 8, sent 8, in flight 8, completed 0, failed 0; 0 tok/s"},
		{"the end", tally.Progress{Level: "c8", CloseNs: 32 * s, Scheduled: 5, Completed: 3, Failed: 1}, 5, 9, true, true,
			"live: level c8; scheduled 5, sent 5, completed 3, failed 1; 0 tok/s; over"},
	} {
		p.Progress, p.sent, p.remaining, p.counted = tt.of, tt.sent, tt.left, tt.counted
		l := live{past: []liveTokens{{10 * s, 0}}}
		require.Equal(t, tt.line, l.line(p, tt.last), tt.sentence)
	}
}

func TestLive_SpeedIsOfTheLastTenSeconds(t *testing.T) {
	const s = 1000 * msNs
	l := live{past: []liveTokens{{s, 0}}}
	require.Zero(t, l.speed(progress{ns: s}), "no time has passed")
	tokens := int64(0)
	for k := range int64(30) { // 10 a second, then 100 a second
		tokens += 10
		if k >= 15 {
			tokens += 90
		}
		v := l.speed(progress{ns: (k + 2) * s, Progress: tally.Progress{OutputTokens: tokens}})
		switch k {
		case 14:
			require.InDelta(t, 10, v, 1e-9)
		case 19:
			require.InDelta(t, 55, v, 1e-9)
		case 29:
			require.InDelta(t, 100, v, 1e-9)
		}
	}
	require.Len(t, l.past, speedLines+1)
}

// heard is a logger that keeps its lines.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (h *heard) Levels() []logrus.Level { return logrus.AllLevels }

func (h *heard) Fire(e *logrus.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, e.Message)
	return nil
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.lines...)
}

func TestLinesComeWhileTheRunGoesOnAndTheLastHasAll(t *testing.T) {
	h := &heard{}
	logger := logrus.New()
	logger.SetOutput(t.Output())
	logger.AddHook(h)
	r := New(Spec{Live: "true"}, Env{Log: &records.Log{}, Logger: logger})
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // New opens the packet ring, which stays
	r.live.every = time.Millisecond
	r.tally.Level(tally.Spec{Name: "a"})
	r.tally.Open("a", clock.Now(), 0)
	for range 2 { // the second begins no second loop
		r.live.start()
	}
	add := func(failure stream.Failure, ttftNs int64) {
		at := clock.Now()
		r.tally.Scheduled(at)
		r.AddSent()
		r.Add(&tally.Observation{
			Level: "a", Phase: tally.Steady, ScheduledNs: at, StartedNs: at, SentNs: at, Streamed: true,
			Result: &stream.Result{
				Failure: failure, OutputTokens: 1, Arrivals: []stream.Arrival{{AtNs: at + ttftNs, Tokens: 1}},
				FirstOutputNs: at + ttftNs, LastOutputNs: at + ttftNs, EndNs: at + ttftNs,
			},
		})
	}
	add(stream.None, 10*msNs)
	require.Eventually(t, func() bool { return len(h.all()) > 2 }, 10*time.Second, time.Millisecond)
	add(stream.None, 20*msNs)
	add(stream.Truncated, 1)
	r.live.stop()
	lines := h.all()
	r.live.stop()
	require.Equal(t, lines, h.all(), "a second end says nothing")
	require.Contains(t, lines[1], "scheduled 1, sent 1, in flight 0, completed 1, failed 0")
	require.Regexp(t, `^live: level a; scheduled 3, sent 3, completed 2, failed 1; \d+ tok/s, TTFT p50 15\.0 ms, p99 19\.9 ms; over$`, lines[len(lines)-1])
}

func TestLive_WhereLinesAreWritten(t *testing.T) {
	for _, tt := range []struct {
		live    string
		watched bool
		has     bool
	}{{"auto", true, true}, {"auto", false, false}, {"true", false, true}, {"false", true, false}, {"", true, false}} {
		r := New(Spec{Live: tt.live}, Env{Log: &records.Log{}, Logger: logrus.New(), Watched: tt.watched})
		require.Equal(t, tt.has, r.live != nil, tt)
		r.live.stop() // of what never began
	}
	require.Nil(t, New(Spec{Live: "true"}, Env{Log: &records.Log{}}).live, "nobody to tell")
}
