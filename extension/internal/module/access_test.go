package module

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAccess_OfARun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write := func(key string) { require.NoError(t, os.WriteFile(path, []byte(key), 0o600)) }
	write("sk-first-key")
	valid := "sk-first-key"
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, "got "+r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	var mu sync.Mutex
	var seen []http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.URL.Path == "/away":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
			return
		case r.Header.Get("Authorization") != "Bearer "+valid:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error":{"message":"Incorrect API key: %s"}}`, r.Header.Get("Authorization"))
			return
		}
		seen = append(seen, r.Header)
		_, _ = fmt.Fprint(w, `{"choices":[{"text":"a","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	}))
	defer server.Close()
	headers := func() []http.Header { // the server's own goroutines go on
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
	v := newScriptVU(t, `
		tc.run({ scenario: "s", config: {}, sloMs: {}, access: {
			keys: { file: "`+path+`" }, traceparent: true } });
		const headers = { Authorization: "Bearer {{key}}", "X-Conversation": "{{session}}", "X-Index": "{{index}}" };
		client = new tc.Client({ url: "`+server.URL+`", api: "completions", headers });
		ask = (session, own = {}) => client.request({ body: "{}", session, headers: own });
		look = (path) => tc.fetch("`+server.URL+`" + path, { headers });`)
	recordsTo(t, v.root)
	t.Cleanup(func() { v.root.access.Load().Close() })
	require.Equal(t, "200", v.run(`return look("/").status`))
	require.Equal(t, `"completed"`, v.run(`return ask("conversation 7").outcome`))
	mu.Lock()
	valid = "sk-second-key"
	mu.Unlock()
	write(valid)
	require.Eventually(t, func() bool { return v.run(`return ask().outcome`) == `"completed"` }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, `200`, v.run(`return look("/").status`))
	require.Equal(t, `"got "`, v.run(`return look("/away").body`), "another host is not shown the key")
	_, lines := v.emitted()
	got := headers()
	require.Equal(t, "conversation 7", got[1].Get("X-Conversation"))
	last := got[len(got)-2]
	line := lines[len(lines)-1]
	require.Equal(t, line["id"], last.Get("X-Conversation"), "a request without a conversation is one by itself")
	require.Equal(t, "0", last.Get("X-Index"))
	require.Contains(t, last.Get("Traceparent"), "00-"+line["traceId"].(string)+"-")
	require.NotEqual(t, lines[0]["traceId"], line["traceId"])
	require.NotContains(t, fmt.Sprint(lines), "sk-")

	for _, path := range []string{elsewhere.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)} {
		require.Contains(t, v.run(`try { client.request({ body: "{}", url: "`+path+`/v1" }) } catch (e) { return String(e) }`), "is of another server than")
		require.Contains(t, v.run(`try { client.batch([{ body: "{}", url: "`+path+`/v1" }]) } catch (e) { return String(e) }`), "is of another server than")
	}
	require.Equal(t, `"completed"`, v.run(`return client.request({ body: "{}", url: "`+server.URL+`/other" }).outcome`))
	require.Equal(t, `"completed"`, v.run(`return ask("conversation 8", { "X-Own": "{{session}}/{{vu}}", "X-Conversation": "mine" }).outcome`))
	got = headers()
	own := got[len(got)-1]
	require.Equal(t, []string{"conversation 8/0", "mine"}, []string{own.Get("X-Own"), own.Get("X-Conversation")})
	for value, why := range map[string]string{"{{sesion}}": "placeholder", "Bearer {{key}}": "for the headers of the client"} {
		require.Contains(t, v.run(`try { ask("s", { "X-Own": "`+value+`" }) } catch (e) { return String(e) }`), why)
	}

	require.Contains(t, newScriptVU(t, "").refused(`tc.run({ scenario: "s", config: {}, sloMs: {}, access: { tls: { ca: "none" } } })`), "TLS_CA=none")
	require.Contains(t, newScriptVU(t, "").refused(`new tc.Client({ url: "http://h", api: "chat", headers: { "X-A": "{{key}}" } })`), "named no keys")
	require.Contains(t, newScriptVU(t, "").refused(`new tc.Client({ url: "http://h", api: "chat", headers: { "X-A": "{{sesion}}" } })`), "X-A")
}
