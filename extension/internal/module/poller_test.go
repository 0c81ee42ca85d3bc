package module

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/scrape"
)

const msNs = int64(1e6)

const exposition = `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} 3
vllm:num_requests_running{engine="1"} 4
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total 100
# TYPE vllm:latency_seconds histogram
vllm:latency_seconds_bucket{le="0.5"} 4
vllm:latency_seconds_bucket{le="+Inf"} 5
vllm:latency_seconds_sum 1
vllm:latency_seconds_count 5
untyped_one 2.5
`

// series is one element of poller.series(), or a line of records.
type series struct {
	Page    int          `json:"page"`
	What    string       `json:"what"`
	Metrics []string     `json:"metrics"`
	Kinds   []string     `json:"kinds"`
	Points  [][]*float64 `json:"points"`
}

func seriesOf(t *testing.T, v *scriptVU) (out []series) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(v.run(`return poller.series();`)), &out))
	return out
}

func TestKindsAreTextsToAScript(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, exposition) }))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { pages: [{ url: "`+s.URL+`" }], intervalMs: 1, metrics: ["untyped_one"] });`)
	v.run(`poller.start(); poller.stop();`)
	require.Equal(t, `true`, v.run(`const [s] = poller.series(); return s.kinds[0] === "gauge" && s.what === "values" && typeof s.points[0][0] === "number";`))
}

func pagesOf(t *testing.T, v *scriptVU) (out []map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(v.run(`return poller.pages();`)), &out))
	return out
}

func TestPoller_ReadsPagesAndReportsWhatIsMissing(t *testing.T) {
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
			t.Error("the page's headers are not sent")
		}
	}))
	t.Cleanup(s.Close)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a page is asked for with another page's key")
		}
		_, _ = fmt.Fprint(w, "# TYPE power gauge\npower{gpu=\"0\"} 300\npower{gpu=\"1\"} 100\n")
	}))
	t.Cleanup(other.Close)
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { pages: [{ url: "`+s.URL+`", headers: { Authorization: "Bearer x" } }, { url: "`+other.URL+`" }],
		intervalMs: 2, metrics: ["vllm:num_requests_running", "vllm:prompt_*", "no_such_metric", "vllm:latency_seconds", "untyped_one", "mean(power)"] });`)
	o := recordsTo(t, v.root)
	require.NoError(t, o.Start())
	v.run(`poller.start(); poller.start();`)
	<-enough
	v.run(`poller.stop(); poller.stop();`)

	found := seriesOf(t, v)
	require.Len(t, found, 3)
	values, histograms, power := found[0], found[1], found[2]
	require.Equal(t, []string{"untyped_one", "vllm:num_requests_running", "vllm:prompt_tokens_total"}, values.Metrics)
	require.Equal(t, []string{"gauge", "gauge", "counter"}, values.Kinds)
	require.Less(t, len(values.Points), int(asked.Load()), "answers that were none are no points")
	lastNs := 0.0
	for _, p := range values.Points {
		require.Greater(t, *p[0], lastNs)
		lastNs = *p[0]
		require.Equal(t, []float64{2.5, 7, 100}, []float64{*p[1], *p[2], *p[3]}, "a metric is the sum of its series")
	}
	require.Equal(t, []string{"vllm:latency_seconds_count", "vllm:latency_seconds_sum", `vllm:latency_seconds_bucket{le="0.5"}`}, histograms.Metrics)
	require.Less(t, len(histograms.Points), len(values.Points), "histograms are kept less often")
	for _, p := range histograms.Points {
		require.Equal(t, []float64{5, 1, 4}, []float64{*p[1], *p[2], *p[3]})
	}
	require.Equal(t, 1, power.Page)
	require.Equal(t, 200.0, *power.Points[0][1])

	pages := pagesOf(t, v)
	require.EqualValues(t, 2, pages[0]["failed"])
	require.Equal(t, "HTTP 503", pages[0]["error"])
	require.EqualValues(t, asked.Load(), pages[0]["polls"])
	require.EqualValues(t, len(exposition), pages[0]["bytes"])
	require.Positive(t, pages[0]["cpuShare"])
	require.Positive(t, pages[0]["pageMs"].(map[string]any)["p50"])
	require.Equal(t, "", pages[1]["error"])

	before := asked.Load()
	v.run(`poller.start();`)
	for asked.Load() < before+2 { // the first of these has been answered then
		runtime.Gosched()
	}
	v.run(`poller.stop();`)
	require.NoError(t, o.Stop())
	recorded, last := map[string]int{}, map[string]float64{}
	var states []any // how the pages were polled, as it was when polling ended for the last time
	for _, line := range linesIn(t, o) {
		if line["type"] == "pages" {
			require.Equal(t, "p", line["name"])
			states = line["pages"].([]any)
			continue
		}
		table := fmt.Sprint(line["page"], line["what"])
		for _, row := range line["points"].([]any) {
			require.Greater(t, row.([]any)[0].(float64), last[table], "no point is recorded twice")
			last[table] = row.([]any)[0].(float64)
			recorded[table]++
		}
	}
	for _, s := range seriesOf(t, v) {
		require.Equal(t, recorded[fmt.Sprint(s.Page, s.What)], len(s.Points))
	}
	require.Len(t, states, 2)
	for k, page := range pagesOf(t, v) {
		recorded := states[k].(map[string]any)
		require.Len(t, recorded, len(page))
		for name, value := range page {
			// JavaScript may write the last digit of a mean otherwise than Go.
			switch value := value.(type) {
			case map[string]any:
				require.InDeltaMapValues(t, value, recorded[name], 1e-9, name)
			case float64:
				require.InDelta(t, value, recorded[name], 1e-9, name)
			default:
				require.Equal(t, value, recorded[name], name)
			}
		}
	}
}

func TestPoller_ReadsAtBeginAndEndOfALevel(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = fmt.Fprint(w, exposition)
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `
		tc.run({ scenario: "s", config: {}, sloMs: {} });
		windows = new tc.Windows("w", [{ name: "a" }]);
		poller = new tc.MetricsPoller("p", { pages: [{ url: "`+s.URL+`" }], intervalMs: 3600000, metrics: ["vllm:*"] });`)
	v.run(`poller.start();`)
	wait := func(n int32) {
		for asked.Load() < n {
			runtime.Gosched()
		}
	}
	wait(1)
	for len(seriesOf(t, v)) == 0 {
		runtime.Gosched() // the poll is over: the next one is not the same
	}
	v.run(`windows.begin("a");`)
	wait(2)
	v.run(`poller.stop();`)
	require.GreaterOrEqual(t, asked.Load(), int32(3), "the end is read as well")
	for _, table := range seriesOf(t, v) {
		require.Len(t, table.Points, int(asked.Load()), "%s: with its histograms", table.What)
	}
}

func TestPoller_EndsWithTheRecordsWithoutStop(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = fmt.Fprint(w, exposition)
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { pages: [{ url: "`+s.URL+`" }], intervalMs: 1, metrics: ["untyped_one"] });`)
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

func TestPoller_LongRunIsRecordedAsItGoesAndThinned(t *testing.T) {
	root := New(&records.Log{})
	p := &poller{log: root.log, name: "p", o: pollerOptions{Pages: []pageOptions{{URL: "http://x"}}, IntervalMs: 10, Metrics: []string{"a"}}}
	require.NoError(t, p.open())
	page := p.pages[0]
	o := recordsTo(t, root)
	require.NoError(t, o.Start())
	const polls = maxPoints + 5
	for k := range int64(polls) {
		page.add(1+k*10*msNs, []scrape.Metric{{Name: "a", Kind: scrape.Gauge, Value: float64(k)}}, false)
		require.LessOrEqual(t, len(page.values.unrecorded), 100, "what waits is a second's")
		require.Less(t, len(page.values.rows), maxPoints)
	}
	page.record(polls * 10 * msNs)
	page.record(polls * 10 * msNs) // nothing came since
	require.NoError(t, o.Stop())
	lines := linesIn(t, o)
	require.InDelta(t, polls/100, len(lines), 2, "a line a second")
	k := 0
	for _, line := range lines {
		for _, row := range line["points"].([]any) {
			require.Equal(t, []any{float64(1 + int64(k)*10*msNs), float64(k)}, row)
			k++
		}
	}
	require.Equal(t, polls, k)

	points := (&pollerOf{p: p}).Series()[0].Points
	require.Len(t, points, (polls+1)/2)
	for i, pt := range points {
		require.Equal(t, float64(2*i), pt[1], "evenly spaced")
	}

	page.add(1, nil, false)
	require.Empty(t, page.values.unrecorded, "without records nothing waits for them")
}

func TestPoller_DoesNotMakeUpForASlowEndpoint(t *testing.T) {
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
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { pages: [{ url: "`+s.URL+`" }], intervalMs: 1, metrics: ["untyped_one"] });`)
	v.run(`poller.start();`)
	<-waiting
	v.run(`poller.stop();`) // does not wait for the answer longer than its grace
	require.EqualValues(t, 1, asked.Load())
	require.JSONEq(t, `[]`, v.run(`return poller.series();`))
	close(hold)
	for options, why := range map[string]string{
		`{}`: "intervalMs from 1 to 8.64e+07",
		`{ pages: [{ url: "http://x" }], intervalMs: 0, metrics: ["a"] }`:        "intervalMs from 1 to 8.64e+07",
		`{ pages: [{ url: "http://x" }], intervalMs: NaN, metrics: ["a"] }`:      "intervalMs from 1 to 8.64e+07",
		`{ pages: [{ url: "http://x" }], intervalMs: Infinity, metrics: ["a"] }`: "intervalMs from 1 to 8.64e+07",
		`{ pages: [{ url: "http://x" }], intervalMs: 1, metrics: [] }`:           "no metric is named",
		`{ pages: [{}], intervalMs: 1, metrics: ["a"] }`:                         "page 0 has no url",
		`{ pages: [{ url: "http://x" }], intervalMs: 1, metrics: ["a b"] }`:      "no name of a metric",
	} {
		_, err := v.VU.Runtime().RunString(`new tc.MetricsPoller("q", ` + options + `)`)
		require.ErrorContains(t, err, why, options)
	}
}

func TestSkippedPollsAreCounted(t *testing.T) {
	var asked atomic.Int32
	first, slow, second := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			close(first)
			<-slow
		case 2:
			close(second)
		}
		_, _ = fmt.Fprint(w, exposition)
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { pages: [{ url: "`+s.URL+`" }], intervalMs: 1, metrics: ["untyped_one"] });`)
	v.run(`poller.start();`)
	<-first
	v.run(`const end = Date.now() + 20; while (Date.now() < end) {}`)
	close(slow)
	<-second
	v.run(`poller.stop();`)
	require.GreaterOrEqual(t, pagesOf(t, v)[0]["skipped"], 15.0)
}

func TestPoller_SlowPageIsPolledForATenthOfTheTime(t *testing.T) {
	const took = 10 * time.Millisecond
	var asked atomic.Int32
	enough := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(took)
		if asked.Add(1) == 6 {
			close(enough)
		}
		_, _ = fmt.Fprint(w, exposition)
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { pages: [{ url: "`+s.URL+`" }], intervalMs: 1, metrics: ["untyped_one"] });`)
	began := time.Now()
	v.run(`poller.start();`)
	<-enough
	require.GreaterOrEqual(t, time.Since(began), 5*10*took)
	v.run(`poller.stop();`)
	require.GreaterOrEqual(t, pagesOf(t, v)[0]["skipped"], 5.0*9*10)
}

func TestPoller_MissingPageIsAskedForOnce(t *testing.T) {
	var asked atomic.Int32
	answered := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
		close(answered)
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `poller = new tc.MetricsPoller("p", { pages: [{ url: "`+s.URL+`" }], intervalMs: 1, metrics: ["untyped_one"] });`)
	v.run(`poller.start();`)
	<-answered
	v.run(`const end = Date.now() + 20; while (Date.now() < end) {}
		poller.stop();`)
	require.EqualValues(t, 1, asked.Load())
	require.Equal(t, "HTTP 404", pagesOf(t, v)[0]["error"])
}
