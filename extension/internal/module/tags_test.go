package module

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTagsOfARequestAreOnItsSamplesAndItsRecordAlone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"choices":[{"text":"a","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	}))
	defer server.Close()
	v := newScriptVU(t, `
		tc.run({ scenario: "s", config: {}, sloMs: {} });
		client = new tc.Client({ url: "`+server.URL+`", api: "completions" });
		ask = (tags) => client.request({ body: "{}", tags }).outcome;
		fails = (tags) => { try { ask(tags) } catch (e) { return String(e) } };`)
	recordsTo(t, v.root)
	for _, tags := range []string{`{ turn: "t1", tries: 2, name: "answers", warm: true }`, `undefined`, `{}`, `{ turn: "t2" }`} {
		require.Equal(t, `"completed"`, v.run(`return ask(`+tags+`)`))
	}
	samples, lines := v.emitted()
	require.Equal(t, map[string]any{"turn": "t1", "tries": "2", "name": "answers", "warm": "true"}, lines[0]["tags"])
	require.Nil(t, lines[1]["tags"])
	require.Nil(t, lines[2]["tags"])
	require.Equal(t, map[string]any{"turn": "t2"}, lines[3]["tags"])
	seen := map[string][]string{}
	for _, each := range samples {
		turn, _ := each.Tags.Get("turn")
		seen[each.Metric.Name] = append(seen[each.Metric.Name], turn)
		if each.Metric.Name == "http_reqs" {
			name, _ := each.Tags.Get("name")
			require.Equal(t, map[bool]string{true: "answers", false: server.URL}[turn == "t1"], name)
			url, _ := each.Tags.Get("url")
			require.Equal(t, server.URL, url)
		}
	}
	for _, metric := range []string{"llm_queue_delay", "llm_requests", "llm_output_tokens", "http_reqs", "http_req_duration"} {
		require.Equal(t, []string{"t1", "", "", "t2"}, seen[metric], metric)
	}
	for tags, want := range map[string]string{
		`{ level: "c9" }`:   "level",
		`{ failure: "no" }`: "failure",
		`{ turn: null }`:    "tag turn is neither a text, a number nor a boolean",
		`{ turn: {} }`:      "tag turn is neither",
		`"t1"`:              "must be an object",
	} {
		require.Contains(t, v.run(`return fails(`+tags+`)`), want)
	}
	_, lines = v.emitted()
	require.Empty(t, lines, "what is refused was not sent")
}
