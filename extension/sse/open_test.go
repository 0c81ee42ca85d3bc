package sse

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	k6http "go.k6.io/k6/v2/js/modules/k6/http"
	"go.k6.io/k6/v2/js/modulestest"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/metrics"
	"go.uber.org/goleak"
	"gopkg.in/guregu/null.v3"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

func TestMain(m *testing.M) {
	const reader = "github.com/tokenclock/tokenclock/extension/internal/reader." // its thread is there for the process
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(reader+"runThread"), goleak.IgnoreAnyFunction(reader+"(*Reader).dispatch"),
		goleak.IgnoreAnyFunction(strings.Replace(reader, "/reader.", "/ring.", 1)+"(*Ring).serve"))
}

// peer is the server's end of one connection in a test that scripts every byte.
type peer struct {
	net.Conn
	in   *bufio.Reader
	body string // of the last request
}

// request reads one request; nil: the client closed.
func (p *peer) request() *http.Request {
	r, err := http.ReadRequest(p.in)
	if err != nil {
		return nil
	}
	body, _ := io.ReadAll(r.Body)
	p.body = string(body)
	return r
}

func (p *peer) say(s string) { _, _ = io.WriteString(p, s) }

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

func (p *peer) chunk(s string) { p.say(fmt.Sprintf("%x\r\n%s\r\n", len(s), s)) }
func (p *peer) end()           { p.say("0\r\n\r\n") }

// reply answers with an event stream of these bytes, in one chunk.
func (p *peer) reply(events string) {
	p.say(streamHead)
	p.chunk(events)
	p.end()
}

// server serves every connection by talk, which runs on a goroutine of its own.
func server(t *testing.T, talk func(*peer)) (origin string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	connections = new(atomic.Int64)
	var (
		all  sync.WaitGroup
		open sync.Map
	)
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			connections.Add(1)
			all.Go(func() {
				defer func() { _ = c.Close() }()
				talk(&peer{Conn: c, in: bufio.NewReader(c)})
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		all.Wait()
	})
	return "http://" + l.Addr().String(), connections
}

// each is a talk that answers every request of a connection alike.
func each(answer func(*peer, *http.Request)) func(*peer) {
	return func(p *peer) {
		for r := p.request(); r != nil; r = p.request() {
			answer(p, r)
		}
	}
}

// replying answers every request alike.
func replying(events string) func(*peer) {
	return each(func(p *peer, _ *http.Request) { p.reply(events) })
}

// vu is a VU with the module as the global `sse`, as a script finds it.
type vu struct {
	*modulestest.Runtime
	t       *testing.T
	state   *lib.State
	samples chan metrics.SampleContainer
	dialer  *netext.Dialer
}

func newVU(t *testing.T, origin string) *vu {
	t.Helper()
	rt := modulestest.NewRuntime(t)
	v := &vu{Runtime: rt, t: t, samples: make(chan metrics.SampleContainer, 1000), dialer: netext.NewDialer(net.Dialer{}, nil)}
	instance := New().NewModuleInstance(rt.VU)
	require.NoError(t, rt.VU.Runtime().Set("sse", instance.Exports().Default))
	require.NoError(t, rt.VU.Runtime().Set("http", k6http.New().NewModuleInstance(rt.VU).Exports().Default))
	require.NoError(t, rt.VU.Runtime().Set("URL", origin+"/events"))
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	registry := rt.VU.InitEnvField.Registry
	v.state = &lib.State{
		Dialer: v.dialer, CookieJar: jar, Samples: v.samples, BuiltinMetrics: rt.BuiltinMetrics,
		Tags: lib.NewVUStateTags(registry.RootTagSet().With("group", "::checkout")),
		Options: lib.Options{
			SystemTags: metrics.NewSystemTagSet(metrics.TagURL, metrics.TagName, metrics.TagMethod, metrics.TagStatus, metrics.TagProto,
				metrics.TagIP, metrics.TagError, metrics.TagErrorCode, metrics.TagExpectedResponse),
			UserAgent: null.StringFrom("k6-of-the-test"),
		},
	}
	rt.MoveToVUContext(v.state)
	return v
}

// run runs a script and returns the JSON of its last value.
func (v *vu) run(script string) string {
	v.t.Helper()
	out, err := v.tryRun(script)
	require.NoError(v.t, err)
	return out
}

func (v *vu) tryRun(script string) (string, error) {
	value, err := v.VU.Runtime().RunString("JSON.stringify((function () {" + script + "})())")
	if err != nil {
		return "", err
	}
	return value.String(), nil
}

// collect opens the stream and returns what the callbacks saw, in order, and then the response.
const collect = `
	const seen = [];
	const note = (event) => [event.id, event.name, event.data, event.comment].join("|");
	const res = sse.open(URL, (client) => {
		client.on("open", () => seen.push("open"));
		client.on("event", (event) => seen.push(note(event)));
		client.on("error", (e) => seen.push("error: " + e.error()));
	});
	seen.push(res.status + " " + res.error);
	return seen;`

func TestEvents(t *testing.T) {
	for _, tc := range []struct{ name, stream, want string }{
		{"fields, a comment and two data lines", "retry: 10\n: hi\nid: 7\nevent: greeting\ndata: a\ndata: b\n\ndata:c\n\n",
			`["open","7|greeting|a\nb|hi","||c|","200 "]`},
		{"no space behind the colon, CRLF", "id:1\r\ndata:{\"a\": 1}\r\n\r\n", `["open","1||{\"a\": 1}|","200 "]`},
		{"a comment alone is an event without data", ": ping\n\ndata: x\n\n", `["open","|||ping","||x|","200 "]`},
		{"of several comments the last, no line breaks at the end of data", ": a\n: b\ndata: x\ndata:\n\n", `["open","||x|b","200 "]`},
		{"other scripts", "data: Grüße, 世界 🌍\n\n", `["open","||Grüße, 世界 🌍|","200 "]`},
		{"the end without a blank line", "data: a\n\ndata: b\n", `["open","||a|","||b|","200 "]`},
		{"the end without a line break", "data: a\n\nid: 9\ndata: [DONE]", `["open","||a|","9||[DONE]|","200 "]`},
		{"the end without data", "data: a\n\nid: 9\n", `["open","||a|","200 "]`},
		{"lines that are no field", "data: a\n\njunk\ndata: b\n\n{\"error\": 1}\n",
			`["open","||a|","error: unknown event: junk","||b|","error: unknown event: {\"error\": 1}","200 "]`},
		{"nothing", "\n", `["open","200 "]`},
		{"a byte order mark", "\xef\xbb\xbfdata: a\n\n", `["open","||a|","200 "]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			origin, _ := server(t, replying(tc.stream))
			assert.JSONEq(t, tc.want, newVU(t, origin).run(collect))
		})
		t.Run(tc.name+", byte by byte", func(t *testing.T) {
			origin, _ := server(t, each(func(p *peer, _ *http.Request) {
				p.say(streamHead)
				for i := range len(tc.stream) {
					p.chunk(tc.stream[i : i+1])
				}
				p.end()
			}))
			assert.JSONEq(t, tc.want, newVU(t, origin).run(collect))
		})
	}
	t.Run("a body that ends with the connection", func(t *testing.T) {
		origin, _ := server(t, func(p *peer) {
			p.request()
			p.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\ndata: b")
		})
		assert.JSONEq(t, `["open","||a|","||b|","200 "]`, newVU(t, origin).run(collect))
	})
}

func TestRequest(t *testing.T) {
	type seen struct {
		method, path, body string
		header             http.Header
		host               string
	}
	got := make(chan seen, 1)
	origin, _ := server(t, each(func(p *peer, r *http.Request) {
		got <- seen{r.Method, r.URL.RequestURI(), p.body, r.Header, r.Host}
		p.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\nX-Twice: a\r\nX-Twice: b\r\nSet-Cookie: kept=1\r\n\r\n")
	}))
	v := newVU(t, origin)

	assert.JSONEq(t, `["`+origin+`/events",201,"a, b",""]`,
		v.run(`const r = sse.open(URL, () => {}); return [r.url, r.status, r.headers["X-Twice"], r.error]`))
	r := <-got
	assert.Equal(t, "GET", r.method)
	assert.Equal(t, "text/event-stream", r.header.Get("Accept"))
	assert.Equal(t, "k6-of-the-test", r.header.Get("User-Agent"))
	assert.Empty(t, r.header.Get("Content-Type"), "xk6-sse adds none")
	assert.Empty(t, r.header.Get("Cookie"))

	v.run(`sse.open(URL + "?a=b", {
		method: "POST", body: '{"stream": true}', timeout: "30s", unknown: 1,
		headers: {"content-type": "application/json", Authorization: "Bearer x", "User-Agent": "mine", Accept: "*/*"},
	}, () => {})`)
	r = <-got
	assert.Equal(t, seen{"POST", "/events?a=b", `{"stream": true}`, http.Header{
		"Content-Type": {"application/json"}, "Authorization": {"Bearer x"}, "User-Agent": {"mine"}, "Accept": {"*/*"},
		"Content-Length": {"16"}, "Cookie": {"kept=1"},
	}, strings.TrimPrefix(origin, "http://")}, r)

	v.run(`sse.open(URL, {headers: {host: "llm.test"}}, () => {})`)
	assert.Equal(t, "llm.test", (<-got).host)

	v.run(`const jar = new http.CookieJar(); jar.set(URL, "own", "2");
		sse.open(URL, {jar, headers: null, body: undefined, tags: null}, () => {})`)
	r = <-got
	assert.Equal(t, "own=2", r.header.Get("Cookie"))
	assert.Empty(t, r.body)

	v.run(`sse.open(URL, {method: "PUT", body: new Uint8Array([104, 105]).buffer}, () => {})`)
	assert.Equal(t, "hi", (<-got).body)
}

func TestWrongUse(t *testing.T) {
	origin, connections := server(t, replying("data: a\n\n"))
	v := newVU(t, origin)
	for script, message := range map[string]string{
		`sse.open(URL)`:                                          "arguments",
		`sse.open(URL, {}, () => {}, 1)`:                         "arguments",
		`sse.open(URL, {}, {})`:                                  "must be a function",
		`sse.open(URL, {timeout: "soon"}, () => {})`:             "timeout",
		`sse.open(URL, {tags: {a: {}}}, () => {})`:               "tags",
		`sse.open(URL, {headers: {"a b": "c"}}, () => {})`:       "", // refused when it would be sent
		`sse.open(URL, {headers: {a: "c\r\nd: e"}}, () => {})`:   "",
		`sse.open("INVALID", () => {})`:                          "",
		`sse.open("ftp://127.0.0.1/", () => {})`:                 "",
		`sse.open("unix:///nowhere.sock:/v1", () => {})`:         "",
		`sse.open("http://127.0.0.1:1/nobody-there", () => {})`:  "",
		`sse.open(URL, {method: "BAD METHOD"}, function () { })`: "",
	} {
		if message != "" {
			_, err := v.tryRun(script)
			assert.ErrorContains(t, err, message, script)
			continue
		}
		v.state.Options.Throw = null.BoolFrom(false)
		assert.NotEqual(t, `""`, v.run("return ("+script+").error"), script)
		assert.JSONEq(t, `[0,{}]`, v.run("const r = "+script+"; return [r.status, r.headers]"), script)
		v.state.Options.Throw = null.BoolFrom(true)
		_, err := v.tryRun(script)
		assert.Error(t, err, script)
	}
	assert.Zero(t, connections.Load())

	init := modulestest.NewRuntime(t)
	require.NoError(t, init.VU.Runtime().Set("sse", New().NewModuleInstance(init.VU).Exports().Default))
	_, err := init.VU.Runtime().RunString(`sse.open("http://127.0.0.1:1/", () => {})`)
	assert.ErrorContains(t, err, "init context")
}

func TestReadErrorEndsTheCall(t *testing.T) {
	for name, cut := range map[string]func(*peer){
		"cut short": func(*peer) {},
		"reset":     func(p *peer) { _ = p.Conn.(*net.TCPConn).SetLinger(0) },
		"bad chunk": func(p *peer) { p.say("zzz\r\n"); p.request() },
	} {
		t.Run(name, func(t *testing.T) {
			heard := make(chan struct{})
			origin, _ := server(t, func(p *peer) {
				p.request()
				p.say(streamHead)
				p.chunk("data: a\n\ndata: half an ev")
				<-heard
				cut(p)
			})
			v := newVU(t, origin)
			require.NoError(t, v.VU.Runtime().Set("heard", func() { close(heard) }))
			out := v.run(strings.Replace(collect, "seen.push(note(event))", "{ seen.push(note(event)); heard() }", 1))
			assert.Contains(t, out, `["open","||a|","error: reading the stream: `)
			assert.Contains(t, out, `"200 reading the stream: `)
			assert.NotContains(t, out, "half")
			failed := v.values("http_req_failed")
			require.Len(t, failed, 1)
			assert.EqualValues(t, 1, failed[0].Value)
			assert.Equal(t, "false", tag(failed[0], "expected_response"))
			assert.Equal(t, "200", tag(failed[0], "status"))
			assert.NotEmpty(t, tag(failed[0], "error"))
		})
	}
}

func TestTimeout(t *testing.T) {
	for name, head := range map[string]string{"before the head": "", "in the stream": streamHead} {
		t.Run(name, func(t *testing.T) {
			origin, _ := server(t, func(p *peer) {
				p.request()
				p.say(head)
				p.request() // until the client gives up
			})
			v := newVU(t, origin)
			out := v.run(strings.Replace(collect, "sse.open(URL, ", "sse.open(URL, {timeout: 150}, ", 1))
			assert.Contains(t, out, "deadline exceeded")
			assert.Equal(t, head != "", strings.Contains(out, "error: no end of the stream within 150ms"))
			d := v.values("http_req_duration")
			require.Len(t, d, 1)
			assert.Equal(t, "1050", tag(d[0], "error_code"))
			assert.Greater(t, d[0].Value, 50.0)
		})
	}
}

func TestInterruptedVU(t *testing.T) {
	origin, _ := server(t, func(p *peer) {
		p.request()
		p.say(streamHead)
		p.chunk("data: a\n\n")
		p.request()
	})
	v := newVU(t, origin)
	require.NoError(t, v.VU.Runtime().Set("interrupt", v.CancelContext))
	out := v.run(strings.Replace(collect, "seen.push(note(event))", "interrupt()", 1))
	assert.NotContains(t, out, `"error: `, "nobody is to be told")
	assert.Contains(t, out, "200 the iteration ended")
}

func TestCallbacks(t *testing.T) {
	for _, tc := range []struct{ name, setup, want, throws string }{
		{"close in the first event", `client.on("event", (e) => { seen.push(e.data); client.close() })`, `["a",200]`, ""},
		{"close in open", `client.on("open", () => client.close()); client.on("event", () => seen.push("no"))`, `[200]`, ""},
		{"close in setup", `client.close(); client.on("open", () => seen.push("open")); client.on("event", () => seen.push("no"))`, `["open",200]`, ""},
		{"several in their order", `client.on("event", () => seen.push(1)); client.on("event", () => seen.push(2))`, `[1,2,1,2,200]`, ""},
		{"no function, unknown name", `client.on("event", 1); client.on("close", () => seen.push("no"))`, `[200]`, ""},
		{"an exception in setup", `throw new Error("boom")`, "", "boom"},
		{"an exception in open", `client.on("open", () => { throw new Error("boom") })`, "", "boom"},
		{"an exception in an event", `client.on("event", () => { throw new Error("boom") })`, "", "boom"},
		{"another stream in an event", `client.on("event", (e) => sse.open(URL, (inner) => inner.on("event", (f) => seen.push(e.data + f.data))))`,
			`["aa","ab","ba","bb",200]`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			origin, _ := server(t, replying("data: a\n\ndata: b\n\n"))
			v := newVU(t, origin)
			out, err := v.tryRun(`const seen = []; const r = sse.open(URL, (client) => { ` + tc.setup + ` }); seen.push(r.status); return seen`)
			if tc.throws != "" {
				require.ErrorContains(t, err, tc.throws)
			} else {
				require.NoError(t, err)
				assert.JSONEq(t, tc.want, out)
			}
			for _, s := range v.values("http_req_failed") {
				assert.Zero(t, s.Value)
			}
		})
	}
	t.Run("the error of an error callback", func(t *testing.T) {
		origin, _ := server(t, replying("junk\n"))
		_, err := newVU(t, origin).tryRun(`sse.open(URL, (client) => client.on("error", (e) => { throw e }))`)
		assert.ErrorContains(t, err, "unknown event: junk")
	})
}

func TestConnectionsAreReused(t *testing.T) {
	origin, connections := server(t, replying("data: a\n\ndata: [DONE]\n\n"))
	v := newVU(t, origin)
	v.run(`for (let i = 0; i < 5; i++) sse.open(URL, (client) => client.on("event", () => {}))`)
	// k6 gives each iteration a context of its own and ends it with the iteration.
	next, cancel := context.WithCancel(t.Context())
	defer cancel()
	v.CancelContext()
	v.VU.CtxField = next
	v.run(`sse.open(URL, () => {})`)
	assert.EqualValues(t, 1, connections.Load())
	connecting := v.values("http_req_connecting")
	require.Len(t, connecting, 6)
	assert.Positive(t, connecting[0].Value)
	for _, s := range connecting[1:] {
		assert.Zero(t, s.Value)
	}
	assert.Positive(t, atomic.LoadInt64(&v.dialer.BytesRead), "for data_received")
	assert.Positive(t, atomic.LoadInt64(&v.dialer.BytesWritten))

	v.state.Options.NoVUConnectionReuse = null.BoolFrom(true)
	for v.state.Iteration = 1; v.state.Iteration < 3; v.state.Iteration++ {
		v.run(`for (let i = 0; i < 2; i++) sse.open(URL, () => {})`)
	}
	assert.EqualValues(t, 3, connections.Load())
}

func TestRedirects(t *testing.T) {
	origin, _ := server(t, each(func(p *peer, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			p.say("HTTP/1.1 307 Temporary Redirect\r\nLocation: /second\r\nContent-Length: 2\r\n\r\nhi")
		case "/second":
			p.say("HTTP/1.1 303 See Other\r\nLocation: /third\r\nContent-Length: 0\r\n\r\n")
		default:
			p.say(streamHead)
			p.chunk("data: " + r.Method + r.URL.Path + p.body + "\n\n")
			p.end()
		}
	}))
	v := newVU(t, origin)
	open := `const seen = []; const r = sse.open(URL, {method: "POST", body: "b"}, (c) => c.on("event", (e) => seen.push(e.data))); return [r.status, seen]`
	assert.JSONEq(t, `[200,["GET/third"]]`, v.run(open))
	var hops []string
	for _, s := range v.values("http_reqs") {
		hops = append(hops, tag(s, "status")+strings.TrimPrefix(tag(s, "url"), origin))
	}
	assert.Equal(t, []string{"307/events", "303/second", "200/third"}, hops)

	v.state.Options.MaxRedirects = null.IntFrom(1)
	assert.JSONEq(t, `[303,[]]`, v.run(open))
}

func TestRedirectsElsewhereCarryNoKey(t *testing.T) {
	heads := make(chan http.Header, 4)
	other, _ := server(t, each(func(p *peer, r *http.Request) {
		heads <- r.Header.Clone()
		p.say(streamHead)
		p.end()
	}))
	origin, _ := server(t, each(func(p *peer, r *http.Request) {
		if r.URL.Path == "/own" {
			heads <- r.Header.Clone()
			p.say(streamHead)
			p.end()
			return
		}
		where := map[string]string{"/events": other + "/x", "/home": "/own"}[r.URL.Path]
		p.say("HTTP/1.1 307 Temporary Redirect\r\nLocation: " + where + "\r\nContent-Length: 0\r\n\r\n")
	}))
	v := newVU(t, origin)
	open := func(path string) http.Header {
		v.run(`return sse.open(URL.replace("/events", "` + path + `"), {headers: {Authorization: "Bearer k", "X-Api-Key": "k", "api-key": "k", Cookie: "c=k", "X-Team": "k", Accept: "text/event-stream", "Content-Type": "application/json"}}, () => {}).status`)
		return <-heads
	}
	away := open("/events")
	for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "Cookie", "X-Team"} {
		assert.Empty(t, away.Get(name), name)
	}
	assert.Equal(t, "text/event-stream", away.Get("Accept"))
	assert.Equal(t, "application/json", away.Get("Content-Type"))
	home := open("/home")
	for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Team"} {
		assert.NotEmpty(t, home.Get(name), "the same server is sent all: "+name)
	}
}

// values returns the samples of one metric that were emitted since the last call that asked for any.
func (v *vu) values(metric string) []metrics.Sample {
	var out []metrics.Sample
	containers := metrics.GetBufferedSamples(v.samples)
	for _, c := range containers {
		for _, s := range c.GetSamples() {
			if s.Metric.Name == metric {
				out = append(out, s)
			}
		}
	}
	return out
}

func tag(s metrics.Sample, name string) string {
	value, _ := s.Tags.Get(name)
	return value
}

func TestMetrics(t *testing.T) {
	origin, _ := server(t, replying("data: a\n\n: ping\n\ndata: b\n\n"))
	v := newVU(t, origin)
	v.run(`sse.open(URL, {tags: {model: "m", run: 7}}, () => {})`)
	byName := map[string][]metrics.Sample{}
	for _, c := range metrics.GetBufferedSamples(v.samples) {
		for _, s := range c.GetSamples() {
			byName[s.Metric.Name] = append(byName[s.Metric.Name], s)
			for name, want := range map[string]string{
				"url": origin + "/events", "name": origin + "/events", "method": "GET", "status": "200", "proto": "HTTP/1.1",
				"ip": "127.0.0.1", "group": "::checkout", "model": "m", "run": "7",
			} {
				assert.Equal(t, want, tag(s, name), "%s of %s", name, s.Metric.Name)
			}
		}
	}
	require.Len(t, byName["sse_event"], 3)
	assert.Equal(t, metrics.Counter, byName["sse_event"][0].Metric.Type)
	for _, s := range byName["sse_event"] {
		assert.EqualValues(t, 1, s.Value)
	}
	one := func(name string) float64 {
		require.Len(t, byName[name], 1, name)
		assert.Equal(t, "true", tag(byName[name][0], "expected_response"), name)
		return byName[name][0].Value
	}
	assert.EqualValues(t, 1, one("http_reqs"))
	assert.Zero(t, one("http_req_failed"))
	assert.Zero(t, one("http_req_tls_handshaking"))
	assert.GreaterOrEqual(t, one("http_req_blocked"), one("http_req_connecting"))
	assert.InDelta(t, one("http_req_duration"), one("http_req_sending")+one("http_req_waiting")+one("http_req_receiving"), 1e-6)
	assert.Positive(t, one("http_req_waiting"))
	for _, s := range byName["sse_event"] {
		assert.False(t, s.Time.After(byName["http_reqs"][0].Time))
	}

	origin, _ = server(t, each(func(p *peer, _ *http.Request) { p.say("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno") }))
	v.run(`sse.open("` + origin + `", () => {})`)
	failed := v.values("http_req_failed")
	require.Len(t, failed, 1)
	assert.EqualValues(t, 1, failed[0].Value)
	assert.Equal(t, "1503", tag(failed[0], "error_code"))
	assert.Equal(t, "503", tag(failed[0], "status"))

	v.run(`sse.open("http://127.0.0.1:1/", () => {})`)
	failed = v.values("http_req_failed")
	require.Len(t, failed, 1)
	assert.EqualValues(t, 1, failed[0].Value)
	assert.Equal(t, "1212", tag(failed[0], "error_code"))
	assert.Equal(t, "0", tag(failed[0], "status"))
}

// An event that arrives while a callback is busy carries the time it arrived, not that of its own callback.
func TestArrivalIsNotTheCallback(t *testing.T) {
	second := make(chan struct{})
	written := make(chan struct{})
	origin, _ := server(t, func(p *peer) {
		p.request()
		p.say(streamHead)
		p.chunk("data: first\n\n")
		<-second
		p.chunk("data: second\n\n")
		close(written)
		p.end()
		p.request()
	})
	v := newVU(t, origin)
	require.NoError(t, v.VU.Runtime().Set("busyUntilSecondArrived", func() float64 {
		close(second)
		<-written
		// Where no kernel stamps, a goroutine does; give it every chance before the callback ends.
		untilNs := clock.Now() + 20_000_000
		for clock.Now() < untilNs { //nolint:revive // a busy callback is the point
		}
		return unixMs(clock.Now())
	}))
	assert.JSONEq(t, `{"order":true,"both":["first","second"]}`, v.run(`
		const events = []; let callbackEnded;
		const r = sse.open(URL, (client) => client.on("event", (e) => {
			if (events.length === 0) {
				if (client.sentMs > e.arrivalMs + 0.1) throw new Error("sent after its answer");
				callbackEnded = busyUntilSecondArrived();
			}
			events.push(e);
		}));
		const [a, b] = events;
		return {order: r.sentMs > 0 && a.arrivalMs < b.arrivalMs && b.arrivalMs < callbackEnded, both: events.map((e) => e.data)}`))
}
