package module

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// cachingServer answers completions of 100 input tokens, and shows counters that grow by what a request says in its prompt:
// "HITS/QUERIES", and ",CACHED" where its usage is to tell. What pages() makes of the counters is its metrics page.
func cachingServer(t *testing.T, page func(hits, queries int64) (int, string)) (url string, polls *atomic.Int64) {
	var hits, queries atomic.Int64
	polls = &atomic.Int64{}
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		polls.Add(1)
		if r.Header.Get("Authorization") != "Bearer k" {
			t.Error("the page is not asked for with the run's headers")
		}
		status, body := page(hits.Load(), queries.Load())
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	})
	mux.HandleFunc("/v1/completions", func(w http.ResponseWriter, r *http.Request) {
		var h, q, cached int64
		n, _ := fmt.Fscanf(r.Body, "%d/%d,%d", &h, &q, &cached)
		hits.Add(h)
		queries.Add(q)
		details := "null"
		if n == 3 {
			details = fmt.Sprintf(`{"cached_tokens":%d}`, cached)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"choices":[{"index":0,"text":"a","finish_reason":"length"}],"usage":{"prompt_tokens":100,"completion_tokens":1,"prompt_tokens_details":%s}}`, details)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, polls
}

func vllmPage(hits, queries int64) (int, string) {
	return 200, fmt.Sprintf("# TYPE vllm:prefix_cache_hits counter\nvllm:prefix_cache_hits_total{engine=\"0\"} %d\n"+
		"# TYPE vllm:prefix_cache_queries counter\nvllm:prefix_cache_queries_total{engine=\"0\"} %d\nvllm:prefix_cache_queries_total{engine=\"1\"} 7\n", 5000+hits, queries)
}

// cacheScript has two levels, a and b; ask(level, prompt, inputTokens) sends one request in one.
func cacheScript(url, cache string) string {
	return `
	tc.run({ scenario: "s", config: {}, sloMs: {}, cache: "` + cache + `" });
	tc.watchCache({ url: "` + url + `/metrics", headers: { Authorization: "Bearer k" }, counters: [
		{ hits: ["vllm:prefix_cache_hits_total", "vllm:external_prefix_cache_hits_total"], queries: "vllm:prefix_cache_queries_total" },
		{ hits: ["other_hits_total"], queries: "other_tokens_total" } ] });
	windows = new tc.Windows("w", [{ name: "a" }, { name: "b" }]);
	client = new tc.Client({ url: "` + url + `/v1/completions", api: "completions", stream: false });
	ask = (level, prompt, more = {}, phase) => client.request({ body: prompt, ...more }, windows.begin(level, phase));
	over = () => { windows.end("a"); windows.end("b"); tc.emitLevelMetrics(); };
	shares = () => {
		const { levels, total, validity } = tc.report();
		// How punctual a busy machine is says nothing of the server's cache.
		const state = validity.state === "CLIENT-BOUND" ? "VALID" : validity.state;
		return { state, of: [...levels, total].map((l) => [l.cachedTokens, l.cachedShare ?? "-", l.cachedSource ?? "-"]) };
	};`
}

func TestCache_ShareComesFromUsageElseFromTheServer(t *testing.T) {
	url, polls := cachingServer(t, vllmPage)
	v := newScriptVU(t, cacheScript(url, "warm"))
	// Level a: the counters alone tell, its warm-up included. Level b: one request's usage tells, so the others had no hit.
	require.JSONEq(t, `{"state":"VALID","of":[[60,0.3,"server"],[40,0.2,"usage"],[40,0.1,"usage"]]}`, v.run(`
		ask("a", "10/100", {}, "warmup"); ask("a", "50/100"); windows.end("a");
		ask("b", "40/100,40"); ask("b", "0/100"); over();
		return shares();`))
	require.EqualValues(t, 3, polls.Load(), "what ends a level begins the next")
	samples, _ := v.emitted()
	shares := find(samples, "llm_cached_share")
	require.Len(t, shares, 2)
	require.Equal(t, []float64{0.3, 0.2}, []float64{shares[0].Value, shares[1].Value})
	require.Equal(t, "a", shares[0].Tags.Map()["level"])
	tokens := find(samples, "llm_cached_tokens")
	require.Len(t, tokens, 1, "a request whose usage does not tell gives no sample")
	require.Equal(t, 40.0, tokens[0].Value)
	require.Equal(t, 0.0, find(samples, "llm_cache_bound")[0].Value, "a warm run is not judged")
	for _, s := range find(samples, "llm_samples") {
		if s.Tags.Map()["metric"] == "llm_cached_share" {
			require.Equal(t, map[string]float64{"a": 1, "b": 2}[s.Tags.Map()["level"]], s.Value)
		}
	}
}

func TestCache_UnreportedShareIsUnknown(t *testing.T) {
	for sentence, tt := range map[string]struct {
		page  func(hits, queries int64) (int, string)
		polls int64
	}{
		"There is no page: it is asked for once.":            {func(int64, int64) (int, string) { return 404, "Not Found" }, 1},
		"The page is another server's, which counts nothing": {func(int64, int64) (int, string) { return vllmPage(0, 0) }, 3},
		"The page has no such counters.":                     {func(int64, int64) (int, string) { return 200, "up 1\n" }, 1},
		"The page has one of the two.":                       {func(int64, int64) (int, string) { return 200, "other_hits_total 1\n" }, 1},
		"The page is none.":                                  {func(int64, int64) (int, string) { return 200, "this { is not it" }, 1},
		"The server began to count anew.":                    {func(h, q int64) (int, string) { return vllmPage(-h, q) }, 3},
	} {
		url, polls := cachingServer(t, tt.page)
		v := newScriptVU(t, cacheScript(url, "cold"))
		require.JSONEq(t, `{"state":"VALID","of":[[0,"-","-"],[0,"-","-"],[0,"-","-"]]}`, v.run(`
			ask("a", "50/100"); windows.end("a"); ask("b", "50/100"); over(); return shares();`), sentence)
		require.Equal(t, tt.polls, polls.Load(), sentence)
		samples, _ := v.emitted()
		require.Empty(t, find(samples, "llm_cached_share"), sentence)
	}
}

func TestCache_CountersUnderOtherNames(t *testing.T) {
	url, _ := cachingServer(t, func(hits, queries int64) (int, string) {
		return 200, fmt.Sprintf("other_hits_total{a=\"1\"} %d\nother_hits_total{a=\"2\"} 1\nother_tokens_total %d\n", hits, queries)
	})
	v := newScriptVU(t, cacheScript(url, "warm"))
	require.JSONEq(t, `{"state":"VALID","of":[[25,0.25,"server"],[0,"-","-"],[25,0.25,"server"]]}`, v.run(`ask("a", "25/100"); over(); return shares();`))
}

// Of 100 input tokens a few may be the chat template's, and the first two words another prompt's by chance.
func TestCache_ColdRunWithCachedInputIsCacheBound(t *testing.T) {
	for _, tt := range []struct {
		sentence, script, state string
		reason                  string
	}{
		{"no hit", `ask("a", "0/100,0")`, "VALID", ""},
		{"by usage", `ask("a", "0/100,60")`, "CACHE-BOUND", "level a: 60.0 % of the input came from the server's prefix cache (by its usage), limit 1 % with CACHE=cold"},
		{"by the counters", `ask("a", "60/100")`, "CACHE-BOUND", "level a: 60.0 % of the input came from the server's prefix cache (by its counters)"},
		{"the template, as the client learnt it", `ask("a", "0/100,24", { templateTokens: 24 })`, "VALID", ""},
		{"the template by the counters", `ask("a", "24/100", { templateTokens: 24 }); ask("a", "24/100", { templateTokens: 24 })`, "VALID", ""},
		{"more than the template", `ask("a", "0/100,40", { templateTokens: 24 })`, "CACHE-BOUND", "level a: 40.0 %"},
		{"a template that is none", `ask("a", "0/100,24", { templateTokens: 0, inputTokens: 76 })`, "CACHE-BOUND", "level a: 24.0 %"},
		{"the template as the workload's own length shows it", `ask("a", "0/100,24", { inputTokens: 76 })`, "VALID", ""},
		{"no template where the lengths are as asked", `ask("a", "0/100,24", { inputTokens: 100 })`, "CACHE-BOUND", "level a: 24.0 %"},
		{"two words by chance and 1 %", `ask("a", "0/100,3")`, "VALID", ""},
		{"no more", `ask("a", "0/100,4")`, "CACHE-BOUND", "level a: 4.0 %"},
		{"one request of many", `ask("a", "0/100,90"); for (let i = 0; i < 99; i++) ask("a", "0/100,0")`, "VALID", ""},
		{"one level of two", `ask("a", "0/100,0"); windows.end("a"); ask("b", "0/100,90")`, "CACHE-BOUND", "level b: 90.0 %"},
		{"a warm-up is not what is measured", `ask("a", "0/100,90", {}, "warmup"); ask("a", "0/100,0")`, "VALID", ""},
	} {
		url, _ := cachingServer(t, vllmPage)
		v := newScriptVU(t, cacheScript(url, "cold"))
		var state string
		var reasons []string
		require.NoError(t, json.Unmarshal([]byte(v.run(tt.script+`; over(); const { state, reasons } = tc.report().validity; return [state, reasons];`)), &[]any{&state, &reasons}))
		samples, _ := v.emitted()
		// A busy machine adds reasons of its own to a level of some milliseconds.
		ofCache := slices.DeleteFunc(slices.Clone(reasons), func(r string) bool { return !strings.Contains(r, "prefix cache") })
		bound := 0.0
		if tt.state == "CACHE-BOUND" {
			bound = 1
			require.Len(t, ofCache, 1, tt.sentence)
			require.Contains(t, ofCache[0], tt.reason, tt.sentence)
		} else {
			require.Empty(t, ofCache, tt.sentence)
		}
		require.Equal(t, bound, find(samples, "llm_cache_bound")[0].Value, tt.sentence)
		if len(ofCache) == len(reasons) {
			require.Equal(t, tt.state, state, tt.sentence)
			require.Equal(t, 0.0, find(samples, "llm_client_bound")[0].Value, tt.sentence)
		}
	}
}

func TestCache_RecordDistinguishesNoneFromUnknown(t *testing.T) {
	url, _ := cachingServer(t, vllmPage)
	v := newScriptVU(t, cacheScript(url, "cold"))
	recordsTo(t, v.root)
	v.run(`ask("a", "0/100,0"); ask("a", "0/100"); ask("a", "0/100,5")`)
	_, lines := v.emitted()
	require.Equal(t, []any{0.0, nil, 5.0}, []any{lines[0]["cachedTokens"], lines[1]["cachedTokens"], lines[2]["cachedTokens"]})
}

// Rows of a dataset follow the serial number: none is sent twice before all were sent.
func TestSerialNumbersGoOnOverLevelsAndWarmUps(t *testing.T) {
	serials := func(v *scriptVU, script string) string { return v.run(`const seen = []; ` + script + `; return seen;`) }
	v := newScriptVU(t, `levels = new tc.Levels("l", [{ name: "c1", concurrency: 1, requests: 2 }, { name: "c2", concurrency: 1, requests: 2, warmupRequests: 2 }]);`)
	require.Equal(t, `[["c1","warmup",0,0],["c1","steady",1,1],["c1","steady",2,2],["c2","warmup",0,3],["c2","warmup",1,4],["c2","steady",2,5],["c2","steady",3,6]]`,
		serials(v, `for (let s = levels.acquire(); s; s = levels.acquire()) seen.push([s.level, s.phase, s.index, s.serial])`))
	v = newScriptVU(t, `windows = new tc.Windows("w", [{ name: "b4", batchSize: 4 }, { name: "b2", batchSize: 2 }, { name: "x" }]);`)
	require.Equal(t, `[0,4,8,10,11]`, serials(v, `for (const [l, p] of [["b4", "warmup"], ["b4"], ["b2"], ["x"], ["b2"]]) seen.push(windows.begin(l, p).serial)`))
	v = newScriptVU(t, `arrivals = new tc.Arrivals("a", { stages: [
		{ name: "r", fromRate: 1000, toRate: 1000, durationMs: 2, phase: "warmup" }, { name: "r", fromRate: 1000, toRate: 1000, durationMs: 2 },
		{ name: "s", fromRate: 1000, toRate: 1000, durationMs: 2 }] });`)
	require.Equal(t, `[["r",0],["r",1],["r",2],["r",3],["s",4],["s",5]]`,
		serials(v, `for (let s = arrivals.next(); s; s = arrivals.next()) seen.push([s.level, s.serial])`))
}

func TestCache_CountersAreReadBetweenStages(t *testing.T) {
	url, polls := cachingServer(t, vllmPage)
	v := newScriptVU(t, cacheScript(url, "warm")+`
		arrivals = new tc.Arrivals("a", { stages: [
			{ name: "r", fromRate: 20, toRate: 20, durationMs: 100, phase: "warmup" }, { name: "r", fromRate: 20, toRate: 20, durationMs: 100 },
			{ name: "s", fromRate: 10, toRate: 10, durationMs: 200 }] });`)
	// The page is read at the begin, between r and s, and at the end.
	v.run(`for (let s = arrivals.next(); s; s = arrivals.next()) client.request({ body: s.level === "r" ? "50/100" : "10/100" }, s); over();`)
	require.EqualValues(t, 3, polls.Load())
	// A request at the border counts to the one or the other: stages are not drained.
	var tokens []int
	require.NoError(t, json.Unmarshal([]byte(v.run(`return tc.report().levels.slice(2).map((l) => l.cachedTokens);`)), &tokens))
	require.Equal(t, 220, tokens[0]+tokens[1])
	require.GreaterOrEqual(t, tokens[0], 200)
}
