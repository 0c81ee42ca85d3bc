package module

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/errext/exitcodes"
	"go.k6.io/k6/v2/js/modulestest"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/metrics"
	"go.k6.io/k6/v2/output"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/records"
)

// scriptVU is a VU with the module as the global `tc`, as a script finds it.
type scriptVU struct {
	*modulestest.Runtime
	t       *testing.T
	root    *Root
	samples chan metrics.SampleContainer
}

// newScriptVU runs init in the init context and is then a VU in the middle of an iteration.
func newScriptVU(t *testing.T, init string) *scriptVU {
	t.Helper()
	rt := modulestest.NewRuntime(t)
	v := &scriptVU{Runtime: rt, t: t, root: New(&records.Log{}), samples: make(chan metrics.SampleContainer, 1000)}
	require.NoError(t, rt.VU.Runtime().Set("tc", v.root.NewModuleInstance(rt.VU).Exports().Named))
	v.run(init)
	rt.MoveToVUContext(&lib.State{
		Dialer: netext.NewDialer(net.Dialer{}, nil), Samples: v.samples, BuiltinMetrics: rt.BuiltinMetrics, VUIDGlobal: 7, Iteration: 3,
		Tags:    lib.NewVUStateTags(rt.VU.InitEnvField.Registry.RootTagSet().With("scenario", "default")),
		Options: lib.Options{SystemTags: &metrics.DefaultSystemTagSet},
	})
	return v
}

func TestExports_TheDefaultHasAllNamesAndMakesWhatIsRead(t *testing.T) {
	rt := modulestest.NewRuntime(t)
	exports := New(&records.Log{}).NewModuleInstance(rt.VU).Exports()
	js := rt.VU.Runtime()
	require.NoError(t, js.Set("whole", exports.Default))
	require.NoError(t, js.Set("named", exports.Named))
	v, err := js.RunString(`[
		Object.keys(whole).join() === Object.keys(named).sort().join(),
		Object.keys(named).every((name) => name in whole && typeof whole[name] === typeof named[name]),
		typeof whole.Client === "function" && typeof whole.shared === "function",
		whole.shared("one", () => ({ a: 1 })).a,
		new whole.Client({ url: "http://127.0.0.1:1/v1", api: "json" }) instanceof Object,
		whole.nothing === undefined && !("nothing" in whole),
		Reflect.set(whole, "shared", 1) || Reflect.deleteProperty(whole, "shared"),
	].join()`)
	require.NoError(t, err)
	require.Equal(t, "true,true,true,1,true,true,false", v.String())
}

// recordsTo gives a module records, in a new folder.
func recordsTo(t *testing.T, root *Root) *records.Output {
	t.Helper()
	logger, _ := logtest.NewNullLogger()
	out, err := root.log.NewOutput(output.Params{ConfigArgument: filepath.Join(t.TempDir(), "records.ndjson"), Logger: logger})
	require.NoError(t, err)
	return out.(*records.Output)
}

// linesIn reads the lines of a records file.
func linesIn(t *testing.T, o *records.Output) (lines []map[string]any) {
	t.Helper()
	b, err := os.ReadFile(o.Path())
	require.NoError(t, err)
	for text := range strings.Lines(string(b)) {
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &line), text)
		lines = append(lines, line)
	}
	return lines
}

func (v *scriptVU) run(script string) string {
	v.t.Helper()
	value, err := v.VU.Runtime().RunString("JSON.stringify((function () {" + script + "})())")
	require.NoError(v.t, err)
	return value.String()
}

// refused returns the line with which a script that cannot run ends the test; no catch holds it up.
func (v *scriptVU) refused(script string) string {
	v.t.Helper()
	_, err := v.VU.Runtime().RunString("try {" + script + "; for (;;) ; } catch (e) {}")
	var r refusal
	require.ErrorAs(v.t, err, &r)
	require.Equal(v.t, exitcodes.InvalidConfig, r.ExitCode())
	return r.line
}

// emitted takes what was pushed to k6 since the last call: the samples, and the lines for the records.
func (v *scriptVU) emitted() (samples []metrics.Sample, lines []map[string]any) {
	v.t.Helper()
	for {
		select {
		case c := <-v.samples:
			samples = append(samples, c.GetSamples()...)
			if r, ok := c.(*requestSamples); ok && r.line != nil {
				var line map[string]any
				require.NoError(v.t, json.Unmarshal(r.line, &line), "%s", r.line)
				lines = append(lines, line)
			}
		default:
			return samples, lines
		}
	}
}

func find(samples []metrics.Sample, metric string) (found []metrics.Sample) {
	for _, s := range samples {
		if s.Metric.Name == metric {
			found = append(found, s)
		}
	}
	return found
}

// llm answers completions with three tokens; to a prompt of "fail" with an error that quotes the credentials.
func llm(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Prompt string `json:"prompt"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		if body.Prompt == "fail" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error":{"message":"line one\n\"%s\" \\ Grüße \u2028 is not allowed"}}`, r.Header.Get("Authorization"))
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, text := range []string{"a", "b", "c"} {
			_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"text\":%q}]}\n\n", text)
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond) // else all may come in one receive, between whose tokens there is no time
		}
		_, _ = fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const apiKey = "sk-4f1d-never-shown"

func TestRequest_SamplesTagsAndRecord(t *testing.T) {
	base := llm(t)
	withUser := strings.Replace(base, "://", "://user:"+apiKey+"@", 1) + "/v1/completions"
	v := newScriptVU(t, `
		tc.run({ scenario: "s \"1\"", config: {}, sloMs: { ttft: 60000 } });
		windows = new tc.Windows("w", [{ name: "c1", concurrency: 1 }]);
		client = new tc.Client({ url: "`+withUser+`", api: "completions", headers: { Authorization: "Bearer `+apiKey+`" } });`)
	recordsTo(t, v.root)
	require.JSONEq(t, `["completed", 3, 2, "length", "abc"]`, v.run(`
		const r = client.request({ body: JSON.stringify({ prompt: "x" }), keepText: true }, windows.begin("c1"));
		return [r.outcome, r.outputTokens, r.inputTokens, r.finishReason, r.text];`))
	samples, lines := v.emitted()
	shown := "http://****@" + strings.TrimPrefix(base, "http://") + "/v1/completions"
	llmTags := map[string]string{"scenario": "default", "level": "c1", "phase": "steady"}
	for metric, value := range map[string]float64{
		"llm_requests": 1, "llm_request_failed": 0, "llm_goodput": 1, "llm_input_tokens": 2, "llm_output_tokens": 3, "llm_chunks": 3,
		"llm_ttft": -1, "llm_ttfo": -1, "llm_e2e_latency": -1, "llm_queue_delay": -1, "llm_ttft_scheduled": -1, "llm_e2e_scheduled": -1,
	} {
		s := find(samples, metric)
		require.Len(t, s, 1, metric)
		require.Equal(t, llmTags, s[0].Tags.Map(), metric)
		if value >= 0 {
			require.Equal(t, value, s[0].Value, metric)
		}
	}
	require.Empty(t, find(samples, "llm_failures"))
	for _, metric := range []string{"http_reqs", "http_req_failed", "http_req_duration", "http_req_waiting"} {
		s := find(samples, metric)
		require.Len(t, s, 1, metric)
		tags := s[0].Tags.Map()
		require.Equal(t, map[string]string{
			"scenario": "default", "level": "c1", "phase": "steady", "url": shown, "name": shown, "method": "POST", "status": "200",
			"proto": "HTTP/1.1", "expected_response": "true",
		}, tags, metric)
	}
	require.Len(t, lines, 1)
	line := lines[0]
	for name, want := range map[string]any{
		"type": "request", "scenario": `s "1"`, "level": "c1", "phase": "steady", "index": 0.0, "vu": 7.0, "iter": 3.0, "status": 200.0,
		"outcome": "completed", "inputTokens": 2.0, "outputTokens": 3.0, "tokenSource": "usage", "finishReason": "length", "streamed": true,
	} {
		require.Equal(t, want, line[name], name)
	}
	arrivals := line["arrivals"].([]any)
	require.Len(t, arrivals, 3)
	at, tokens := line["sentNs"].(float64), 0.0
	for _, a := range arrivals {
		at += a.([]any)[0].(float64)
		tokens += a.([]any)[1].(float64)
	}
	require.Equal(t, line["lastOutputNs"], at, "the deltas add up from the send to the last output")
	require.EqualValues(t, 3, tokens)
	require.NotContains(t, line, "failure")

	// The same VU, another method, address and end: no tag may be the last request's.
	v.run(`client.request({ url: "` + base + `/other", method: "PUT", body: JSON.stringify({ prompt: "fail" }) }, windows.begin("c1"));`)
	samples, lines = v.emitted()
	http := find(samples, "http_reqs")[0].Tags.Map()
	require.Equal(t, []string{base + "/other", "PUT", "401", "false"}, []string{http["url"], http["method"], http["status"], http["expected_response"]})
	failures := find(samples, "llm_failures")
	require.Len(t, failures, 1)
	require.Equal(t, "http_4xx", failures[0].Tags.Map()["failure"])
	require.Empty(t, find(samples, "llm_ttft"), "a failed request feeds no latency")
	require.Equal(t, "failed", lines[0]["outcome"])
	require.Equal(t, "http_4xx", lines[0]["failure"])
	require.Contains(t, lines[0]["message"], `"****" \ Grüße`)
	require.EqualValues(t, 1, lines[0]["index"])
}

func TestSecretsReachNeitherSamplesNorRecordsNorScripts(t *testing.T) {
	base := llm(t)
	withUser := strings.Replace(base, "://", "://user:"+apiKey+"@", 1)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, dead.Close())
	nowhere := "http://user:" + apiKey + "@" + dead.Addr().String()
	v := newScriptVU(t, `
		client = new tc.Client({ url: "`+withUser+`", api: "completions", headers: { Authorization: "Bearer `+apiKey+`" } });
		lost = new tc.Client({ url: "`+nowhere+`", api: "completions", headers: { "X-Api-Key": "`+apiKey+`" } });
	`)
	recordsTo(t, v.root)
	said := v.run(`
		const body = JSON.stringify({ prompt: "fail" });
		return [
			client.request({ body }), client.request({ body, url: "` + withUser + `/own" }), lost.request({ body }),
			tc.fetch("` + nowhere + `"), tc.fetch("http://u:` + apiKey + ` x@h"), tc.fetch("ftp://u:` + apiKey + `@h"),
		];`)
	require.NotContains(t, said, apiKey)
	_, err = v.VU.Runtime().RunString(`client.request({ body: "", url: "ftp://u:` + apiKey + `@h" })`)
	require.ErrorContains(t, err, "ftp://****@h")
	require.NotContains(t, err.Error(), apiKey)
	for _, options := range []string{
		`{ url: "ftp://user:` + apiKey + `@host", api: "chat" }`,
		`{ url: "http://user:` + apiKey + ` /x@host", api: "chat" }`,
		`{ url: "http://host", api: "chat", headers: { Authorization: "` + apiKey + `\n" } }`,
	} {
		line := newScriptVU(t, "").refused("new tc.Client(" + options + ")")
		require.Contains(t, line, "new Client: ")
		require.NotContains(t, line, apiKey)
	}
	samples, lines := v.emitted()
	require.Len(t, lines, 3)
	for _, line := range lines {
		require.NotContains(t, fmt.Sprint(line), apiKey)
		require.NotEmpty(t, line["message"])
	}
	require.NotEmpty(t, samples)
	for _, s := range samples {
		require.NotContains(t, fmt.Sprint(s.Tags.Map(), s.Metadata), apiKey)
	}
}

// A described wire is read as it says; one that cannot be used ends the test before any load.
func TestDescribedWire(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "data: {\"t\":\"a\",\"c\":1}\n\ndata: {\"t\":\"ab\",\"c\":2,\"end\":1}\n\n")
	}))
	defer server.Close()
	v := newScriptVU(t, `
		client = new tc.Client({ url: "`+server.URL+`", api: "custom", wire: { name: "mine", response: {
			format: "sse", text: "/t", cumulative: true, usage: { output: "/c" }, end: { at: "/end", is: 1 } } } });`)
	got := v.run(`
		const r = client.request({ body: "{}", keepText: true });
		return [r.outcome, r.text, r.outputTokens, r.message].join();`)
	require.Equal(t, `"completed,ab,2,"`, fmt.Sprint(got))
	for options, line := range map[string]string{
		`{ url: "http://host", api: "custom" }`:                                           `api "custom" needs wire`,
		`{ url: "http://host", api: "chat", wire: { response: {} } }`:                     `but api is "chat"`,
		`{ url: "http://host", api: "custom", wire: { name: "w", response: { text: 1 }}}`: `wire w: response.text is 1`,
		`{ url: "http://host", api: "custom", wire: {} }`:                                 "response is no JSON object",
	} {
		require.Contains(t, newScriptVU(t, "").refused("new tc.Client("+options+")"), line)
	}
}

func TestBurstsNumberTheirRequestsOnce(t *testing.T) {
	v := newScriptVU(t, `
		windows = new tc.Windows("w", [{ name: "b4", batchSize: 4 }]);
		client = new tc.Client({ url: "`+llm(t)+`", api: "completions" });`)
	recordsTo(t, v.root)
	v.run(`
		const body = JSON.stringify({ prompt: "a" }), four = [1, 2, 3, 4].map(() => ({ body }));
		client.batch(four, windows.begin("b4", "warmup"));
		client.batch(four, windows.begin("b4"));
		client.batch(four, windows.begin("b4"));
		return 0;`)
	_, lines := v.emitted()
	seen := map[float64]string{}
	for _, line := range lines {
		k := line["index"].(float64)
		require.NotContains(t, seen, k)
		seen[k] = line["phase"].(string)
	}
	require.Len(t, seen, 12)
	for k := range 12 {
		want := "steady"
		if k < 4 {
			want = "warmup"
		}
		require.Equal(t, want, seen[float64(k)])
	}
}

func TestModule_GetterMayUseIt(t *testing.T) {
	v := newScriptVU(t, `
		poller = new tc.MetricsPoller("p", {
			get pages() { tc.run({ scenario: "of a getter", config: {}, sloMs: {} }); return [{ url: "http://127.0.0.1:1" }]; },
			intervalMs: 1, metrics: ["a"],
		});`)
	require.Equal(t, "of a getter", v.root.current().Spec().Scenario)
}

func TestReader_IsNamedInRecordsAndVerdict(t *testing.T) {
	v := newScriptVU(t, `tc.run({ scenario: "s", config: {}, sloMs: {} });`)
	o := recordsTo(t, v.root)
	require.NoError(t, o.Start())
	validity := v.root.current().Report(0).Validity
	o.AddMetricSamples([]metrics.SampleContainer{&requestSamples{line: []byte(`{"type":"request"}`)}})
	require.NoError(t, o.Stop())
	lines := linesIn(t, o)
	require.Regexp(t, `^(detached|attached|none: .+)$`, lines[0]["reader"])
	require.Equal(t, lines[0]["reader"], validity.Reader)
	end := lines[len(lines)-1]["validity"].(map[string]any)
	require.Equal(t, validity.Reader, end["reader"])
	require.Contains(t, end, "clockSteps")
	require.Contains(t, end, "rejectedStamps")
	if validity.Reader == "detached" {
		require.NotEmpty(t, lines[0]["readerClass"])
		require.Equal(t, lines[0]["readerClass"], end["readerClass"])
	}
}

func TestReader_MisspeltModeIsRefused(t *testing.T) {
	t.Setenv("TOKENCLOCK_READER", "dettached")
	line := newScriptVU(t, "").refused(`tc.run({ scenario: "s", config: {}, sloMs: {} })`)
	if strings.HasPrefix(runtime.GOOS, "linux") {
		require.Contains(t, line, "TOKENCLOCK_READER=dettached is not one of detached, attached, off")
	}
}

func TestVerdict_LateLossOfConnectionsIsNotTheClientsFault(t *testing.T) {
	// It reads each second request on a connection, waits, and closes.
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1)%2 == 0 {
			time.Sleep(300 * time.Millisecond)
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `
		windows = new tc.Windows("w", [{ name: "c1", concurrency: 1 }]);
		client = new tc.Client({ url: "`+s.URL+`", api: "completions" });`)
	v.run(`for (let i = 0; i < 6; i++) client.request({ body: "{}" }, windows.begin("c1")); windows.end("c1"); return 0;`)
	report := v.root.current().Report(0)
	require.EqualValues(t, 3, report.Levels[0].Completed)
	require.Equal(t, map[string]int{"reset": 3}, report.Levels[0].Failures)
	require.Zero(t, report.Validity.RetriedOnReuse)
	require.Less(t, report.Levels[0].QueueDelayMs.Max, 200.0, "the wait for the server is none")
	require.Equal(t, 6, int(requests.Load()))
	for _, reason := range report.Validity.Reasons {
		require.NotContains(t, reason, "slots were empty")
		require.NotContains(t, reason, "sent twice")
	}
}

func TestTimeoutsAreNumbers(t *testing.T) {
	for _, timeout := range []string{"-1", "NaN", "Infinity", "1e-9", "1e300"} {
		_, err := newScriptVU(t, "").VU.Runtime().RunString(`new tc.Client({ url: "http://h", api: "chat", timeoutMs: ` + timeout + ` })`)
		require.ErrorContains(t, err, "it must be a number from 0.001 to 2.592e+09", timeout)
	}
}

func TestLevelMetricsAndReport(t *testing.T) {
	v := newScriptVU(t, `
		tc.run({ scenario: "s", config: {}, sloMs: { ttft: 60000 } });
		windows = new tc.Windows("w", [{ name: "full", concurrency: 1 }, { name: "empty", concurrency: 1 }]);
		client = new tc.Client({ url: "`+llm(t)+`", api: "completions" });`)
	v.run(`
		for (let i = 0; i < 3; i++) client.request({ body: "{}" }, windows.begin("full"));
		windows.end("full");
		tc.emitLevelMetrics();`)
	samples, _ := v.emitted()
	for metric, count := range map[string]int{"llm_itl_p50": 1, "llm_itl_p90": 1, "llm_itl_p99": 1, "llm_output_throughput": 2, "llm_request_throughput": 2} {
		s := find(samples, metric)
		require.Len(t, s, count, "%s: a level without a token has no latency to show", metric)
		require.Equal(t, map[string]string{"scenario": "default", "level": "full"}, s[0].Tags.Map())
		require.Positive(t, s[0].Value, metric)
	}
	for _, s := range find(samples, "llm_request_throughput")[1:] {
		require.Zero(t, s.Value)
		require.Equal(t, "empty", s.Tags.Map()["level"])
	}
	counts := map[string]float64{}
	for _, s := range find(samples, "llm_samples") {
		tags := s.Tags.Map()
		counts[tags["level"]+" "+tags["metric"]] = s.Value
	}
	full := v.root.current().Tally().Levels(clock.Now())[0]
	for metric, count := range map[string]int64{
		"llm_ttft": 3, "llm_goodput": 3, "llm_request_goodput": 3,
		// Chunks of some requests may have come in one receive all the same.
		"llm_tpot": full.TPOTMs.Count, "llm_itl_max": full.TPOTMs.Count, "llm_itl_p99": full.ITLMs.Count,
	} {
		require.Positive(t, count, metric)
		require.EqualValues(t, count, counts["full "+metric], metric)
		require.Contains(t, counts, "empty "+metric)
		require.Zero(t, counts["empty "+metric], metric)
	}
	require.Len(t, find(samples, "llm_client_bound"), 1)
	require.JSONEq(t, `[["full","empty"], 3, 9, 0, 5, true, true]`, v.run(`
		const r = tc.report(5);
		return [r.levels.map((l) => l.name), r.levels[0].completed, r.levels[0].outputTokens, r.levels[1].requests,
			r.validity.droppedIterations, r.validity.state === "CLIENT-BOUND", r.durationS > 0 && r.startUnixMs > 0];`))
}

func TestBurst_WindowOpensWithItsRelease(t *testing.T) {
	v := newScriptVU(t, `
		windows = new tc.Windows("w", [{ name: "b2", batchSize: 2 }]);
		client = new tc.Client({ url: "`+llm(t)+`", api: "completions" });`)
	var connectedNs atomic.Int64
	v.VU.State().Dialer = netext.NewDialer(net.Dialer{Control: func(_, _ string, _ syscall.RawConn) error {
		time.Sleep(2 * time.Millisecond)
		connectedNs.Store(clock.Now())
		return nil
	}}, nil)
	v.run(`slot = windows.begin("b2"); return 0`)
	openNs, _, _ := v.root.current().Tally().Window("b2")
	require.Zero(t, openNs, "its prompts are still to be made")
	require.Equal(t, "2", v.run(`return client.batch([{ body: "{}" }, { body: "{}" }], slot).results.length`))
	openNs, _, _ = v.root.current().Tally().Window("b2")
	require.NotZero(t, connectedNs.Load())
	require.Greater(t, openNs, connectedNs.Load(), "and its connections")
	scheduled := int64(0)
	for _, second := range v.root.current().Report(0).Seconds {
		scheduled += second.Scheduled
	}
	require.EqualValues(t, 2, scheduled, "each of its requests counts")
}

func TestWindowsOpenAndCloseWhenTheScriptSaysSo(t *testing.T) {
	v := newScriptVU(t, `
		windows = new tc.Windows("w", [{ name: "b8", batchSize: 8 }]);
		again = new tc.Windows("w", []);
		client = new tc.Client({ url: "`+llm(t)+`", api: "completions" });`)
	window := func() (openNs, closeNs, lastEndNs int64) { return v.root.current().Tally().Window("b8") }
	require.JSONEq(t, `["b8", "warmup", 0]`, v.run(`const s = windows.begin("b8", "warmup"); client.request({ body: "{}" }, s); return [s.level, s.phase, s.index];`))
	openNs, _, warmEndNs := window()
	require.Zero(t, openNs, "a warm-up opens no window")
	v.run(`windows.end("b8")`)
	_, closeNs, _ := window()
	require.Zero(t, closeNs, "what was never opened does not close")
	require.JSONEq(t, `["steady", 1]`, v.run(`const s = windows.begin("b8"); client.request({ body: "{}" }, s); return [s.phase, s.index];`))
	openNs, closeNs, lastEndNs := window()
	require.Greater(t, openNs, warmEndNs)
	require.Zero(t, closeNs)
	require.JSONEq(t, `2`, v.run(`const s = again.begin("b8"); windows.end("b8"); windows.end("b8"); return s.index;`))
	stillOpenNs, closeNs, _ := window()
	require.Equal(t, openNs, stillOpenNs, "a second begin joins the window")
	require.Equal(t, lastEndNs, closeNs, "it closes with the last request that has ended")
	for script, says := range map[string]string{
		`windows.begin("b9")`:           `windows have no level "b9"`,
		`windows.begin("b8", "steddy")`: `phase "steddy" is not one of warmup, steady, drain`,
		`windows.end("b9")`:             `windows have no level "b9"`,
		`new tc.Windows("twice", [{ name: "a", batchSize: 1 }, { name: "a" }])`:      "stands twice",
		`new tc.Windows("none", [{ name: "" }])`:                                     "is empty",
		`client.request({ body: "{}" }, { level: "b8", phase: "steady", index: 0 })`: "not one that a load shape gave",
	} {
		_, err := v.VU.Runtime().RunString(script)
		require.ErrorContains(t, err, says)
	}
}

func TestResult_HoldsTheToolCallsOfTheAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"look","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}]}`+"\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, `client = new tc.Client({ url: "`+s.URL+`", api: "chat" });`)
	require.JSONEq(t, `[[{"id": "c1", "name": "look", "arguments": "{\"a\":1}"}], "c1", 1, []]`, v.run(`
		const r = client.request({ body: "{}", keepText: true });
		return [r.toolCalls, r.toolCalls[0].id, r.toolCalls.length, client.request({ body: "{}" }).toolCalls];`))
}

func TestWindowsAreCompleteOnceEachWasClosed(t *testing.T) {
	v := newScriptVU(t, `w = new tc.Windows("w", [{name: "b1"}, {name: "b2"}])`)
	how := func() [2]string { a, b := v.root.current().Ended(); return [2]string{a, b} }
	require.Equal(t, [2]string{"cut", "level b1 was not over"}, how())
	v.run(`w.begin("b1"); w.end("b1")`)
	require.Equal(t, [2]string{"cut", "level b2 was not over"}, how())
	v.run(`w.begin("b2"); w.end("b2")`)
	require.Equal(t, "complete", how()[0])
}

func TestRun_LoadsDecideWhetherItIsComplete(t *testing.T) {
	for script, missing := range map[string]string{
		`new tc.Levels("l", [{ name: "c1", concurrency: 1, requests: 3 }])`: "level c1 began 0 of 3 requests",
		`new tc.Arrivals("a", { traceMs: [0, 5] })`:                         "0 of the schedule's 2 requests were sent",
	} {
		v := newScriptVU(t, script)
		how, what := v.root.current().Ended()
		require.Equal(t, []string{"cut", missing}, []string{how, what})
	}
}

func TestExitCode_WithoutARunIsK6s(t *testing.T) {
	require.Equal(t, 0, New(&records.Log{}).exitCode(0))
	require.Equal(t, 99, New(&records.Log{}).exitCode(99))
	judged := newScriptVU(t, `tc.run({ scenario: "s", config: {}, sloMs: {}, judged: true })`)
	require.Equal(t, 98, judged.root.exitCode(0), "nobody judged it")
	judged.run(`tc.conclude(0)`)
	require.Equal(t, 0, judged.root.exitCode(0))
}

// A collection that holds up the first requests is the client's delay, and a slot must not be due before it is over.
func TestHeap_SettlesBeforeAnySlotIsDue(t *testing.T) {
	settle := settleHeap
	t.Cleanup(func() { settleHeap = settle })
	for name, script := range map[string]string{
		"Levels":   `new tc.Levels("l", [{ name: "c1", concurrency: 1, requests: 1 }]).acquire()`,
		"Arrivals": `new tc.Arrivals("a", { traceMs: [0] }).next()`,
		"Windows":  `new tc.Windows("w", [{ name: "b1" }]).begin("b1", "")`,
	} {
		v := newScriptVU(t, "")
		settledNs := int64(0)
		settleHeap = func() {
			time.Sleep(time.Millisecond)
			settledNs = clock.Now()
		}
		value, err := v.VU.Runtime().RunString(script)
		require.NoError(t, err)
		s := value.Export().(*slot)
		require.NotZero(t, settledNs, name)
		require.GreaterOrEqual(t, s.of.ScheduledNs(), settledNs, name)
	}
}

func TestWindows_LevelCanBeDeclaredDuringTheRun(t *testing.T) {
	g := newGate(t)
	v := newScriptVU(t, `
		windows = new tc.Windows("w", []);
		client = new tc.Client({ url: "`+g.url+`/any/1", api: "completions" });`)
	v.run(`
		windows.declare({ name: "p1", rate: 20 });
		while (windows.now() < 60); // times before the clock began are none
		const due = windows.now() - 40;
		client.request({ body: "{}" }, windows.begin("p1", "warmup"));
		client.request({ body: "{}" }, windows.begin("p1", "steady", due));
		client.request({ body: "{}" }, windows.begin("p1", "steady", windows.now() + 5000));
		windows.end("p1");
		return 0;`)
	report := v.root.current().Report(0)
	require.Len(t, report.Levels, 1)
	level := report.Levels[0]
	require.Equal(t, 20.0, level.Rate)
	require.EqualValues(t, 2, level.Requests)
	require.EqualValues(t, 1, level.WarmupRequests)
	require.GreaterOrEqual(t, level.QueueDelayMs.Max, 40.0, "sent 40 ms after it was due")
	require.Less(t, level.QueueDelayMs.Min, 40.0, "no request is due in the future")
	require.Empty(t, report.Unsent)
	v.run(`
		try { windows.declare({ name: "p1", rate: 30 }); } catch (error) { if (/stands twice/.test(error)) return 0; throw error; }
		throw new Error("a level was declared twice");`)
}
