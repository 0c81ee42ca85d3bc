package module

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/records"
)

const msNs = int64(1e6)

const exposition = `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} 3
vllm:num_requests_running{engine="1"} 4
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total 100
# TYPE vllm:latency_seconds histogram
vllm:latency_seconds_bucket{le="+Inf"} 5
vllm:latency_seconds_sum 1
vllm:latency_seconds_count 5
untyped_one 2.5
`

func TestThePollerSumsSeriesAndAdmitsWhatIsMissing(t *testing.T) {
	var asked atomic.Int32
	enough := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case n == 2:
			http.Error(w, "not now", http.StatusServiceUnavailable) // no point
		case n == 3:
			_, _ = fmt.Fprint(w, "this is { no exposition") // no point
		default:
			if n == 5 {
				close(enough)
			}
			_, _ = fmt.Fprint(w, exposition)
		}
		if r.Header.Get("Authorization") != "Bearer x" {
			t.Error("the poller's headers are not sent")
		}
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { url: "`+s.URL+`", intervalMs: 2, headers: { Authorization: "Bearer x" },
		metrics: ["vllm:num_requests_running", "vllm:prompt_tokens_total", "no_such_metric", "vllm:latency_seconds", "untyped_one"] });`)
	o := recordsTo(t, v.root)
	require.NoError(t, o.Start())
	v.run(`poller.start(); poller.start();`)
	<-enough
	v.run(`poller.stop(); poller.stop();`)
	var points []struct {
		T      float64    `json:"t"`
		Values []*float64 `json:"values"`
	}
	require.NoError(t, json.Unmarshal([]byte(v.run(`return poller.points();`)), &points))
	require.NotEmpty(t, points)
	require.Less(t, len(points), int(asked.Load()), "answers that were none are no points")
	lastS := 0.0
	for _, p := range points {
		require.Greater(t, p.T, lastS)
		lastS = p.T
		require.Equal(t, 7.0, *p.Values[0], "a metric is the sum of its series")
		require.Equal(t, 100.0, *p.Values[1])
		require.Nil(t, p.Values[2])
		require.Nil(t, p.Values[3], "a histogram is no number")
		require.Equal(t, 2.5, *p.Values[4])
	}
	before := asked.Load()
	v.run(`poller.start();`)
	for asked.Load() < before+2 { // the first of these has been answered then
		runtime.Gosched()
	}
	v.run(`poller.stop();`)
	require.NoError(t, o.Stop())
	lines := linesIn(t, o)
	lastNs, recorded := 0.0, 0
	for _, line := range lines {
		for _, row := range line["points"].([]any) {
			require.Greater(t, row.([]any)[0].(float64), lastNs, "no point is recorded twice")
			lastNs = row.([]any)[0].(float64)
			require.Nil(t, row.([]any)[3])
			recorded++
		}
	}
	require.NoError(t, json.Unmarshal([]byte(v.run(`return poller.points();`)), &points))
	require.Len(t, points, recorded)
}

func TestAPollerThatNoScriptStopsEndsWithTheRecords(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = fmt.Fprint(w, exposition)
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { url: "`+s.URL+`", intervalMs: 1, metrics: ["untyped_one"] });`)
	o := recordsTo(t, v.root)
	require.NoError(t, o.Start())
	v.run(`poller.start();`)
	for asked.Load() < 2 {
		runtime.Gosched()
	}
	require.NoError(t, o.Stop())
	was := asked.Load()
	lines := linesIn(t, o)
	require.NotEmpty(t, lines, "what it had found was recorded")
	v.run(`poller.stop();`)
	require.Equal(t, was, asked.Load())
}

func TestALongRunIsRecordedAsItGoesAndKeptAsAnOutline(t *testing.T) {
	root := New(&records.Log{})
	p := &poller{log: root.log, name: "p", o: pollerOptions{Metrics: []string{"a", "b", "c"}}}
	o := recordsTo(t, root)
	require.NoError(t, o.Start())
	const polls = maxPoints + 5
	for k := range int64(polls) {
		p.keep(point{1 + k*10*msNs, []float64{float64(k), math.NaN(), math.Inf(1)}})
		require.LessOrEqual(t, len(p.unrecorded), 100, "what waits is a second's")
		require.Less(t, len(p.points), maxPoints)
	}
	p.record(polls * 10 * msNs)
	p.record(polls * 10 * msNs) // nothing came since
	require.NoError(t, o.Stop())
	lines := linesIn(t, o)
	require.InDelta(t, polls/100, len(lines), 2, "a line a second")
	k := 0
	for _, line := range lines {
		for _, row := range line["points"].([]any) {
			require.Equal(t, []any{float64(1 + int64(k)*10*msNs), float64(k), nil, nil}, row, "no number that JSON does not have")
			k++
		}
	}
	require.Equal(t, polls, k)

	points := (&pollerOf{p: p}).Points()
	require.Len(t, points, (polls+1)/2)
	for i, pt := range points {
		require.Equal(t, float64(2*i), pt.Values[0], "evenly spaced")
	}

	p.keep(point{1, []float64{0, 0, 0}})
	require.Empty(t, p.unrecorded, "without records nothing waits for them")
}

func TestASlowEndpointIsNotAskedToMakeUpForIt(t *testing.T) {
	var asked, inFlight atomic.Int32
	hold, waiting := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inFlight.Add(1) > 1 {
			t.Error("two polls at once")
		}
		defer inFlight.Add(-1)
		if asked.Add(1) == 1 {
			close(waiting)
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		_, _ = fmt.Fprint(w, exposition)
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { url: "`+s.URL+`", intervalMs: 1, metrics: ["untyped_one"] });`)
	v.run(`poller.start();`)
	<-waiting
	v.run(`poller.stop();`) // does not wait for the answer
	require.EqualValues(t, 1, asked.Load())
	require.JSONEq(t, `[]`, v.run(`return poller.points();`))
	close(hold)
	for _, options := range []string{
		`{}`, `{ url: "http://x", intervalMs: 0, metrics: ["a"] }`, `{ url: "http://x", intervalMs: 1, metrics: [] }`,
		`{ url: "http://x", intervalMs: 1e-7, metrics: ["a"] }`, `{ url: "http://x", intervalMs: NaN, metrics: ["a"] }`,
		`{ url: "http://x", intervalMs: Infinity, metrics: ["a"] }`,
	} {
		_, err := v.VU.Runtime().RunString(`new tc.MetricsPoller("q", ` + options + `)`)
		require.ErrorContains(t, err, "new MetricsPoller: url, metrics and an intervalMs from 1 to 8.64e+07 are needed")
	}
}
