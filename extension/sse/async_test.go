package sse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/lib/netext/httpext"
	"go.k6.io/k6/v2/metrics"
	"gopkg.in/guregu/null.v3"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// onLoop runs the body of an async function on the event loop, as k6 runs an iteration, ends the iteration's context and
// returns the JSON of what the function returned.
func (v *vu) onLoop(body string) string {
	v.t.Helper()
	out, err := v.tryOnLoop(body)
	require.NoError(v.t, err)
	return out
}

func (v *vu) tryOnLoop(body string) (string, error) {
	v.t.Helper()
	var out string
	require.NoError(v.t, v.VU.Runtime().Set("returned", func(s string) { out = s }))
	err := v.EventLoop.Start(func() error {
		_, err := v.VU.Runtime().RunString(`(async () => { ` + body + `})().then((x) => returned(JSON.stringify(x)))`)
		return err
	})
	v.CancelContext()
	v.EventLoop.WaitOnRegistered()
	return out, err
}

// asyncVU is a VU whose scripts have `outcome`: what a wait came to, an event's data or a message.
func asyncVU(t *testing.T, origin string) *vu {
	t.Helper()
	v := newVU(t, origin)
	require.NoError(t, v.VU.Runtime().Set("pause", func(ms int) { time.Sleep(time.Duration(ms) * time.Millisecond) }))
	_, err := v.VU.Runtime().RunString(`
		const outcome = (wait) => { try { return wait().data } catch (e) { return "error: " + e.message } };
		const ended = (client) => { // what is left when the stream has ended, and why it did
			const left = [];
			for (;;) try { left.push(client.waitForEvent().data) } catch (e) { return [...left, e.message] }
		}`)
	require.NoError(t, err)
	return v
}

// holding answers with these events and holds the stream open; gone tells that the client has closed the connection.
func holding(events string) (talk func(*peer), gone chan struct{}) {
	gone = make(chan struct{}, 100)
	return func(p *peer) {
		if p.request() != nil {
			p.say(streamHead)
			p.chunk(events)
			_ = p.request()
			gone <- struct{}{}
		}
	}, gone
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("not seen: " + what)
	}
}

func TestAsyncEvents(t *testing.T) {
	for _, tc := range []struct{ name, stream, want string }{
		{"fields, a comment and two data lines", "retry: 10\n: hi\nid: 7\nevent: greeting\ndata: a\ndata: b\n\ndata:c\n\n",
			`["7|greeting|a\nb|hi","||c|"]`},
		{"neither data nor a name is no event", ": ping\n\nid: 3\n\ndata:\n\nevent: e\n\ndata: x\n\n", `["|e||","||x|"]`},
		{"the end without a line break", "data: a\r\n\r\nid: 9\ndata: [DONE]", `["||a|","9||[DONE]|"]`},
		{"lines that are no field", "junk\ndata: a\n\n", `["||a|"]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			origin, _ := server(t, replying(tc.stream))
			assert.JSONEq(t, tc.want, asyncVU(t, origin).run(`
				const client = sse.openAsync(URL), seen = [];
				try { for (;;) seen.push(client.waitForEvent()) } catch (e) { if (e.message !== "connection closed") throw e }
				if (client.isOpen() || client.getStatus() !== 200 || client.getError() !== undefined) throw new Error("ended otherwise");
				if (seen.some((e, i) => !(e.arrivalMs >= (seen[i - 1]?.arrivalMs ?? client.sentMs) - 0.1) || client.sentMs === 0)) throw new Error("times");
				return seen.map((e) => [e.id, e.name, e.data, e.comment].join("|"))`))
		})
	}
}

func TestAsyncRequest(t *testing.T) {
	type seen struct {
		method, body string
		header       http.Header
	}
	got := make(chan seen, 1)
	origin, _ := server(t, each(func(p *peer, r *http.Request) {
		got <- seen{r.Method, p.body, r.Header}
		p.say("HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nContent-Length: 0\r\nSet-Cookie: kept=1\r\n\r\n")
	}))
	v := asyncVU(t, origin)
	assert.JSONEq(t, `["connection closed"]`, v.run(`return ended(sse.openAsync(URL))`))
	r := <-got
	assert.Equal(t, seen{"GET", "", http.Header{
		"Accept": {"text/event-stream"}, "Cache-Control": {"no-cache"}, "User-Agent": {"k6-of-the-test"},
	}}, r)

	assert.JSONEq(t, `["connection closed"]`, v.run(`return ended(sse.openAsync(URL, {
		method: "post", body: "{}", headers: {"cache-control": "max-age=0", "Content-Type": "application/json"}, tags: {model: "m"},
	}))`))
	r = <-got
	assert.Equal(t, seen{"POST", "{}", http.Header{
		"Accept": {"text/event-stream"}, "Cache-Control": {"max-age=0"}, "User-Agent": {"k6-of-the-test"},
		"Content-Type": {"application/json"}, "Content-Length": {"2"}, "Cookie": {"kept=1"},
	}}, r)
	reqs := v.values("http_reqs")
	require.Len(t, reqs, 2)
	assert.Equal(t, "m", tag(reqs[1], "model"))
}

func TestAsyncWrongUse(t *testing.T) {
	origin, connections := server(t, replying("data: a\n\n"))
	v := asyncVU(t, origin)
	for params, message := range map[string]string{
		`{timeout: "soon"}`:  "sse.openAsync: timeout",
		`{tags: {a: {}}}`:    "sse.openAsync: tags",
		`{maxRetries: -1}`:   "sse.openAsync: maxRetries: -1",
		`{baseDelay: "bit"}`: "sse.openAsync: baseDelay",
		`{maxDelay: -5}`:     "sse.openAsync: maxDelay",
	} {
		_, err := v.tryRun(`sse.openAsync(URL, ` + params + `)`)
		assert.ErrorContains(t, err, message, params)
	}
	v.state.Options.Throw = null.BoolFrom(true) // it is not thrown: the script has its client by then
	for _, url := range []string{"INVALID", "ftp://127.0.0.1/", "http://127.0.0.1:1/nobody-there"} {
		assert.JSONEq(t, `[true,true,true,0,false]`, v.run(`const client = sse.openAsync("`+url+`"), [message] = ended(client), e = client.getError();
			return [message === e.message, message === e.error(), message.length > 10, client.getStatus(), client.isOpen()]`), url)
	}
	assert.Zero(t, connections.Load())

	_, err := v.tryRun(`sse.openAsync(URL).waitForEvent(1)`)
	assert.ErrorContains(t, err, "not a function")
	assert.JSONEq(t, `"the predicate is not a function"`, v.onLoop(`return sse.openAsync(URL).waitForEventAsync({}).catch((e) => e.message)`))

	v = newVU(t, origin)
	v.VU.StateField = nil
	_, err = v.tryRun(`sse.openAsync(URL)`)
	assert.ErrorContains(t, err, "init context")
}

func TestPollEvents(t *testing.T) {
	more := make(chan struct{})
	origin, _ := server(t, func(p *peer) {
		p.request()
		<-more
		p.say(streamHead)
		p.chunk("data: a\n\ndata: b\n\n")
		<-more
		p.chunk("data: c\n\n")
		p.end()
		p.request()
	})
	v := asyncVU(t, origin)
	require.NoError(t, v.VU.Runtime().Set("more", func() { more <- struct{}{} }))
	assert.JSONEq(t, `[[],0,false,["a"],["b"],true,200,[],["c"],false]`, v.run(`
		const client = sse.openAsync(URL), data = () => client.pollEvents().map((e) => e.data);
		const out = [data(), client.getStatus(), client.isOpen()];
		more();
		out.push([client.waitForEvent().data]);
		let b;
		while ((b = data()).length === 0) pause(1);
		out.push(b, client.isOpen(), client.getStatus(), data());
		more();
		while (client.isOpen()) pause(1);
		return [...out, data(), client.isOpen()]`))
}

func TestWaitForEvent(t *testing.T) {
	talk, _ := holding("data: a\n\nevent: e\ndata: b\n\ndata: c\n\n")
	origin, _ := server(t, talk)
	for _, tc := range []struct{ name, script, want string }{
		{"any event", `return [client.waitForEvent().data, client.waitForEvent(null).data, client.waitForEvent(undefined, 60000).data]`, `["a","b","c"]`},
		{"those before the match are taken", `return [client.waitForEvent((e) => e.name === "e").data, client.waitForEvent().data]`, `["b","c"]`},
		{"no match in time", `return [outcome(() => client.waitForEvent((e) => e.data === "d", 30)), client.pollEvents()]`,
			`["error: timeout waiting for event",[]]`},
		{"less than a millisecond", `client.waitForEvent((e) => e.data === "c"); return outcome(() => client.waitForEvent(null, 0.01))`,
			`"error: timeout waiting for event"`},
		{"the predicate throws", `return [outcome(() => client.waitForEvent((e) => { throw new Error("boom " + e.data) })), client.waitForEvent().data]`,
			`["error: boom a","b"]`},
		{"the predicate takes events itself", `return client.waitForEvent((e) => e.data === "c" || client.waitForEvent().data === "b" && false).data`, `"c"`},
		{"the predicate closes", `return [outcome(() => client.waitForEvent((e) => { if (e.data === "c") client.close() })), client.getError()]`,
			`["error: client is closed",null]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.JSONEq(t, tc.want, asyncVU(t, origin).run(`const client = sse.openAsync(URL); `+tc.script))
		})
	}
	t.Run("the timeout also ends a flood", func(t *testing.T) {
		origin, _ := server(t, func(p *peer) {
			p.request()
			p.say(streamHead)
			for {
				if _, err := p.Write([]byte("9\r\ndata: a\n\n\r\n")); err != nil {
					return
				}
			}
		})
		for _, wait := range []string{
			`return outcome(() => sse.openAsync(URL).waitForEvent(slow, 30))`,
			`return sse.openAsync(URL).waitForEventAsync(slow, 30).catch((e) => "error: " + e.message)`,
		} {
			v := asyncVU(t, origin)
			assert.JSONEq(t, `"error: timeout waiting for event"`, v.onLoop(`let n = 0; const slow = () => { if (n++ % 50 === 0) pause(1) }; `+wait))
		}
	})
	t.Run("what arrived in time is looked at, however late", func(t *testing.T) {
		arrived := make(chan struct{})
		origin, _ := server(t, func(p *peer) {
			p.request()
			p.say(streamHead)
			p.chunk("data: a\n\ndata: b\n\n")
			<-arrived
			p.chunk("data: late\n\n")
			p.end()
			p.request()
		})
		v := asyncVU(t, origin)
		require.NoError(t, v.VU.Runtime().Set("arrived", func() { close(arrived) }))
		assert.JSONEq(t, `["b","error: timeout waiting for event","late"]`, v.onLoop(`
			const client = sse.openAsync(URL);
			client.waitForEvent((e) => e.data === "a");
			const waits = ["b", "late"].map((data) => client.waitForEventAsync((e) => e.data === data, 50).then((e) => e.data, (e) => "error: " + e.message));
			pause(100);
			arrived();
			while (client.isOpen()) pause(1);
			return [...await Promise.all(waits), client.waitForEvent().data]`))
	})
	t.Run("what arrived too late for one is for another", func(t *testing.T) {
		more := make(chan struct{})
		origin, _ := server(t, func(p *peer) {
			p.request()
			p.say(streamHead)
			<-more
			p.chunk("data: a\n\n")
			p.end()
			p.request()
		})
		v := asyncVU(t, origin)
		require.NoError(t, v.VU.Runtime().Set("more", func() { close(more) }))
		assert.JSONEq(t, `["error: timeout waiting for event","a"]`, v.onLoop(`
			const client = sse.openAsync(URL);
			const waits = [10, 0].map((ms) => client.waitForEventAsync(null, ms).then((e) => e.data, (e) => "error: " + e.message));
			pause(50);
			more();
			while (client.getStatus() === 0 || client.isOpen()) pause(1);
			return Promise.all(waits)`))
	})
	t.Run("what arrived too late is left", func(t *testing.T) {
		more := make(chan struct{})
		origin, _ := server(t, func(p *peer) {
			p.request()
			p.say(streamHead)
			p.chunk("data: a\n\n")
			<-more
			p.chunk("data: late\n\n")
			p.end()
			p.request()
		})
		v := asyncVU(t, origin)
		require.NoError(t, v.VU.Runtime().Set("more", func() { close(more) }))
		assert.JSONEq(t, `["error: timeout waiting for event",["late","connection closed"]]`, v.run(`
			const client = sse.openAsync(URL);
			const wait = outcome(() => client.waitForEvent((e) => {
				if (e.data !== "a") return true;
				pause(60);
				more();
				while (client.isOpen()) pause(1);
			}, 50));
			return [wait, ended(client)]`))
	})
	t.Run("a timeout that passes while another promise is settled", func(t *testing.T) {
		assert.JSONEq(t, `["timeout waiting for event","timeout waiting for event"]`, asyncVU(t, origin).onLoop(`
			const client = sse.openAsync(URL), none = (e) => e.data === "none";
			return Promise.all([client.waitForEventAsync(none, 80).catch((e) => e.message),
				client.waitForEventAsync(none, 10).catch((e) => { pause(120); return e.message })])`))
	})
	t.Run("what comes during a predicate, with the end behind it, is not lost", func(t *testing.T) {
		more := make(chan struct{}, 10)
		origin, _ := server(t, each(func(p *peer, _ *http.Request) {
			p.say(streamHead)
			p.chunk("data: a\n\n")
			<-more
			p.chunk("data: b\n\n")
			p.end()
		}))
		v := asyncVU(t, origin)
		require.NoError(t, v.VU.Runtime().Set("more", func() { more <- struct{}{} }))
		assert.JSONEq(t, `["b","b"]`, v.onLoop(`
			const slow = (client) => (e) => { if (e.data === "a") more(); while (client.isOpen()) pause(1); return e.data === "b" };
			const one = sse.openAsync(URL), first = one.waitForEvent(slow(one)), other = sse.openAsync(URL);
			return [first.data, (await other.waitForEventAsync((e) => { const is = slow(other)(e); pause(1100); return is }, 1000)).data]`))
	})
	t.Run("the end of the iteration", func(t *testing.T) {
		v := asyncVU(t, origin)
		require.NoError(t, v.VU.Runtime().Set("interrupt", v.CancelContext))
		assert.Contains(t, v.run(`return outcome(() => sse.openAsync(URL).waitForEvent((e) => { if (e.data === "c") interrupt() }))`),
			"iteration")
	})
}

func TestWaitForEventAsync(t *testing.T) {
	talk, _ := holding("data: a\n\nevent: e\ndata: b\n\ndata: c\n\ndata: d\n\n")
	origin, _ := server(t, talk)
	for _, tc := range []struct{ name, script, want string }{
		{"one after the other", `const out = [];
			for (let i = 0; i < 4; i++) out.push((await client.waitForEventAsync()).data);
			return out`, `["a","b","c","d"]`},
		{"those before the match are taken, none behind it", `
			const b = await client.waitForEventAsync((e) => e.name === "e", 60000);
			return [b.data, client.waitForEvent().data]`, `["b","c"]`},
		{"several do not take each other's", `return (await Promise.all([
			client.waitForEventAsync((e) => e.data === "c"), client.waitForEventAsync((e) => e.data === "b"),
			client.waitForEventAsync((e) => e.data > "a"),
			client.waitForEventAsync((e) => e.data === "none", 50).catch((e) => ({data: e.message})),
			])).map((e) => e.data)`, `["c","b","d","timeout waiting for event"]`},
		{"no match in time", `return client.waitForEventAsync(() => false, 30).catch((e) => [e.message, e.error()])`,
			`["timeout waiting for event","timeout waiting for event"]`},
		{"the predicate throws", `return [await client.waitForEventAsync((e) => { throw new Error("boom " + e.data) }).catch((e) => e.message),
			(await client.waitForEventAsync()).data]`, `["boom a","b"]`},
		{"closed while it waits", `
			const waits = client.waitForEventAsync((e) => e.data === "none").catch((e) => e.message);
			await client.waitForEventAsync((e) => e.data === "d");
			client.close();
			return [await waits, await client.waitForEventAsync().catch((e) => e.message)]`, `["client is closed","client is closed"]`},
		{"the predicate waits and closes", `const seen = [];
			const waits = client.waitForEventAsync((e) => {
				seen.push(e.data);
				client.waitForEvent((f) => f.data === "c");
				client.close();
			});
			return [await waits.catch((e) => e.message), seen[0]]`, `["client is closed","a"]`},
		{"the loop goes on meanwhile", `let ticks = 0;
			await Promise.all([client.waitForEventAsync((e) => e.data === "none", 100).catch(() => {}), new Promise((done) => {
				const tick = setInterval(() => { if (++ticks === 3) { clearInterval(tick); done() } }, 1);
			})]);
			return ticks`, `3`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.JSONEq(t, tc.want, asyncVU(t, origin).onLoop(`const client = sse.openAsync(URL); `+tc.script))
		})
	}
	t.Run("nobody catches", func(t *testing.T) {
		_, err := asyncVU(t, origin).tryOnLoop(`await sse.openAsync(URL).waitForEventAsync(() => false, 20)`)
		assert.ErrorContains(t, err, "timeout waiting for event")
	})
	t.Run("the iteration is aborted", func(t *testing.T) {
		v := asyncVU(t, origin)
		_, err := v.tryOnLoop(`sse.openAsync(URL).waitForEventAsync(() => false).catch((e) => returned(e.message)); throw new Error("boom")`)
		assert.ErrorContains(t, err, "boom")
	})
	t.Run("the VU is interrupted", func(t *testing.T) {
		v := asyncVU(t, origin)
		require.NoError(t, v.VU.Runtime().Set("interrupt", v.CancelContext))
		assert.Contains(t, v.onLoop(`const client = sse.openAsync(URL);
			return client.waitForEventAsync((e) => { if (e.data === "d") interrupt() }).catch((e) => e.message)`), "iteration")
	})
	t.Run("two streams and their ends", func(t *testing.T) {
		origin, _ := server(t, replying("data: a\n\ndata: b\n\n"))
		assert.JSONEq(t, `[["a","b","connection closed"],["a","b","connection closed"]]`, asyncVU(t, origin).onLoop(`
			return Promise.all([1, 2].map(async () => {
				const client = sse.openAsync(URL), seen = [];
				try { for (;;) seen.push((await client.waitForEventAsync()).data) } catch (e) { return [...seen, e.message] }
			}))`))
	})
}

// An error ends the stream, and what came before it is there to be taken.
func TestAsyncReadError(t *testing.T) {
	heard := make(chan struct{})
	origin, _ := server(t, func(p *peer) {
		p.request()
		p.say(streamHead)
		p.chunk("data: a\n\ndata: b\n\ndata: half an ev")
		<-heard
	})
	v := asyncVU(t, origin)
	require.NoError(t, v.VU.Runtime().Set("heard", func() { close(heard) }))
	assert.JSONEq(t, `["a",["b","reading the stream: unexpected EOF"],"reading the stream: unexpected EOF",false]`, v.run(`
		const client = sse.openAsync(URL), a = client.waitForEvent().data;
		heard();
		while (client.isOpen()) pause(1);
		return [a, ended(client), client.getError().message, client.isOpen()]`))
	failed := v.values("http_req_failed")
	require.Len(t, failed, 1)
	assert.EqualValues(t, 1, failed[0].Value)
	assert.Equal(t, "200", tag(failed[0], "status"))
}

func TestAsyncTimeout(t *testing.T) {
	for name, head := range map[string]string{"before the head": "", "in the stream": streamHead} {
		t.Run(name, func(t *testing.T) {
			origin, _ := server(t, func(p *peer) {
				p.request()
				p.say(head)
				p.request()
			})
			v := asyncVU(t, origin)
			assert.Contains(t, v.run(`return ended(sse.openAsync(URL, {timeout: 100, maxRetries: 3, baseDelay: 1}))`), "deadline exceeded")
			failed := v.values("http_req_failed")
			require.Len(t, failed, 1, "it is the timeout of the whole call")
			assert.EqualValues(t, 1, failed[0].Value)
			assert.Equal(t, "1050", tag(failed[0], "error_code"))
		})
	}
	t.Run("held up by the script", func(t *testing.T) {
		origin, _ := server(t, replying(strings.Repeat("data: "+strings.Repeat("x", 1<<16)+"\n\n", 40)))
		assert.JSONEq(t, `[true,true]`, asyncVU(t, origin).run(`
			const client = sse.openAsync(URL, {timeout: 200});
			while (!client.getError()) pause(1);
			const left = ended(client), message = left.pop();
			return [left.length < 16, message.includes("deadline exceeded")]`))
	})
}

func TestAsyncRetries(t *testing.T) {
	busy := "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"
	for _, tc := range []struct{ name, answers, params, want, statuses string }{
		{"none is asked for", "503", `{}`, `["unexpected status code: 503"]`, "503"},
		{"the third attempt is served", "cut 503 200", `{maxRetries: 3, baseDelay: 1}`, `["POST body","connection closed"]`, "0 503 200"},
		{"all fail", "503 503 503 200", `{maxRetries: 2, baseDelay: "1ms", maxDelay: "1ms"}`, `["after 2 retries: unexpected status code: 503"]`, "503 503 503"},
		{"a type that is no stream is final", "json 200", `{maxRetries: 2, baseDelay: 1}`, `["unexpected content-type: application/json"]`, "200"},
		{"a stream that was cut is not asked for again", "half 200", `{maxRetries: 2, baseDelay: 1}`,
			`["a","reading the stream: unexpected EOF"]`, "200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answers := make(chan string, 10)
			for _, a := range strings.Fields(tc.answers) {
				answers <- a
			}
			origin, _ := server(t, func(p *peer) {
				for r := p.request(); r != nil; r = p.request() {
					switch <-answers {
					case "503":
						p.say(busy)
					case "json":
						p.say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
					case "200":
						p.say(streamHead)
						p.chunk("data: " + r.Method + " " + p.body + "\n\n")
						p.end()
					case "half":
						p.say(streamHead)
						p.chunk("data: a\n\n")
						return
					default:
						return
					}
				}
			})
			v := asyncVU(t, origin)
			assert.JSONEq(t, tc.want, v.run(`return ended(sse.openAsync(URL, {method: "POST", body: "body", ...`+tc.params+`}))`))
			var statuses []string
			for _, s := range v.values("http_reqs") {
				statuses = append(statuses, tag(s, "status"))
			}
			assert.Equal(t, tc.statuses, strings.Join(statuses, " "))
		})
	}
	t.Run("the status of a refusal", func(t *testing.T) {
		origin, _ := server(t, each(func(p *peer, _ *http.Request) { p.say(busy) }))
		assert.JSONEq(t, `503`, asyncVU(t, origin).run(`const client = sse.openAsync(URL); ended(client); return client.getStatus()`))
	})
	t.Run("a cookie is not sent twice", func(t *testing.T) {
		cookies := make(chan string, 10)
		origin, _ := server(t, each(func(p *peer, r *http.Request) {
			cookies <- r.Header.Get("Cookie")
			p.say("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nSet-Cookie: kept=1\r\n\r\n")
		}))
		asyncVU(t, origin).run(`ended(sse.openAsync(URL, {maxRetries: 2, baseDelay: 0}))`)
		assert.Equal(t, []string{"", "kept=1", "kept=1"}, []string{<-cookies, <-cookies, <-cookies})
	})
}

func TestAsyncClose(t *testing.T) {
	t.Run("an endless stream", func(t *testing.T) {
		talk, gone := holding("data: a\n\ndata: b\n\n")
		origin, _ := server(t, talk)
		v := asyncVU(t, origin)
		assert.JSONEq(t, `["a",false,["b"],"error: client is closed",200,null]`, v.run(`
			const client = sse.openAsync(URL), a = client.waitForEvent().data;
			client.close();
			client.close();
			return [a, client.isOpen(), client.pollEvents().map((e) => e.data), outcome(() => client.waitForEvent()), client.getStatus(), client.getError() ?? null]`))
		returned := clock.Wall(clock.Now())
		wait(t, gone, "the end of the connection")
		failed := v.values("http_req_failed")
		require.Len(t, failed, 1)
		assert.Zero(t, failed[0].Value)
		assert.LessOrEqual(t, failed[0].Time, returned.Add(-closeGrace), "the request ends when close is called, not when it returns")
	})
	t.Run("the end comes at once: the connection is kept", func(t *testing.T) {
		received := make(chan struct{})
		origin, connections := server(t, each(func(p *peer, _ *http.Request) {
			p.say(streamHead)
			p.chunk("data: a\n\ndata: [DONE]\n\n")
			<-received
			p.end()
		}))
		v := asyncVU(t, origin)
		require.NoError(t, v.VU.Runtime().Set("received", func() { received <- struct{}{} }))
		opened := int64(0)
		for ; opened == connections.Load() && opened < 100; opened++ { // where a core is late, 20 ms can be too short
			v.run(`const client = sse.openAsync(URL);
				client.waitForEvent((e) => e.data === "[DONE]");
				received();
				client.close();`)
		}
		assert.Less(t, connections.Load(), opened)
	})
	t.Run("its samples are out when it returns", func(t *testing.T) {
		talk, _ := holding("data: a\n\n")
		origin, _ := server(t, talk)
		v := asyncVU(t, origin)
		slow := make(chan metrics.SampleContainer)
		v.state.Samples = slow
		var trails int
		stop := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			for {
				select {
				case c := <-slow:
					if _, ok := c.(*httpext.Trail); ok {
						trails++
					}
					time.Sleep(100 * time.Millisecond) // the next one waits for that
				case <-stop:
					return
				}
			}
		})
		v.run(`const client = sse.openAsync(URL); client.waitForEvent(); client.close()`)
		close(stop)
		all.Wait()
		assert.Equal(t, 1, trails)
	})
	t.Run("while events come faster than they are taken", func(t *testing.T) {
		gone := make(chan struct{})
		origin, _ := server(t, func(p *peer) {
			defer close(gone)
			p.request()
			p.say(streamHead)
			event := "data: " + strings.Repeat("x", 1<<16) + "\n\n"
			for {
				if _, err := fmt.Fprintf(p, "%x\r\n%s\r\n", len(event), event); err != nil {
					return
				}
			}
		})
		assert.JSONEq(t, `[true,true]`, asyncVU(t, origin).run(`
			const client = sse.openAsync(URL);
			client.waitForEvent();
			pause(50);
			client.close();
			const n = client.pollEvents().length;
			return [n > 0, n * 65536 < 1.1 * 1024 * 1024]`))
		wait(t, gone, "the end of the connection")
	})
	t.Run("before there is an answer", func(t *testing.T) {
		asked, gone := make(chan struct{}), make(chan struct{})
		origin, _ := server(t, func(p *peer) {
			defer close(gone)
			p.request()
			asked <- struct{}{}
			p.request()
		})
		v := asyncVU(t, origin)
		require.NoError(t, v.VU.Runtime().Set("asked", func() { <-asked }))
		assert.JSONEq(t, `["error: client is closed",0,null]`, v.run(`const client = sse.openAsync(URL, {maxRetries: 5, baseDelay: 0});
			asked();
			client.close();
			return [outcome(() => client.waitForEvent()), client.getStatus(), client.getError() ?? null]`))
		wait(t, gone, "the end of the connection")
		assert.Empty(t, v.values("http_reqs"))
	})
	t.Run("between two attempts", func(t *testing.T) {
		origin, _ := server(t, each(func(p *peer, _ *http.Request) { p.say("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") }))
		v := asyncVU(t, origin)
		assert.JSONEq(t, `"error: client is closed"`, v.run(`const client = sse.openAsync(URL, {maxRetries: 5, baseDelay: "1h", maxDelay: "1h"});
			while (client.getStatus() === 0) pause(1);
			client.close();
			return outcome(() => client.waitForEvent())`))
	})
}

// A stream that the script leaves open does not keep the iteration going and does not outlive it.
func TestAsyncEndOfIteration(t *testing.T) {
	talk, gone := holding("data: a\n\n")
	origin, _ := server(t, talk)
	v := asyncVU(t, origin)
	assert.JSONEq(t, `"a"`, v.onLoop(`globalThis.left = sse.openAsync(URL); return left.waitForEvent().data`))
	wait(t, gone, "the end of the connection")

	next, cancel := context.WithCancel(t.Context())
	defer cancel()
	v.VU.CtxField, v.CancelContext = next, cancel
	assert.JSONEq(t, `[false,true,true,true]`, v.onLoop(`
		const message = outcome(() => left.waitForEvent());
		const later = await left.waitForEventAsync().catch((e) => e.message);
		left.close();
		return [left.isOpen(), message.includes("iteration"), later.includes("iteration"), left.pollEvents().length === 0]`))

	t.Run("nor a time between two attempts", func(t *testing.T) {
		v := asyncVU(t, origin)
		v.onLoop(`globalThis.left = sse.openAsync("http://127.0.0.1:1/", {maxRetries: 3, baseDelay: "1h", maxDelay: "1h"})`)
		assert.JSONEq(t, `true`, v.run(`return ended(left).length === 1`))
	})
}

// hungDialer is a name look-up that does not look at its context.
type hungDialer struct{ release chan struct{} }

func (d hungDialer) DialContext(context.Context, string, string) (net.Conn, error) {
	<-d.release
	return nil, errors.New("released")
}

func TestAsyncDoesNotWaitForALookUp(t *testing.T) {
	d := hungDialer{make(chan struct{})}
	t.Cleanup(func() { close(d.release) })
	v := asyncVU(t, "http://127.0.0.1:1")
	v.state.Dialer = d
	require.NoError(t, v.VU.Runtime().Set("interrupt", v.CancelContext))
	assert.JSONEq(t, `["client is closed","context cancelled: the iteration has ended","context cancelled: the iteration has ended"]`, v.onLoop(`
		const closed = sse.openAsync(URL), open = sse.openAsync(URL);
		const message = (client) => client.waitForEventAsync().catch((e) => e.message);
		const waits = [message(closed), message(open)];
		closed.close();
		const first = await waits[0];
		interrupt();
		return [first, await waits[1], ended(open)[0]]`))
}

func TestAsyncConnectionsAreReused(t *testing.T) {
	origin, connections := server(t, replying("data: a\n\ndata: [DONE]\n\n"))
	v := asyncVU(t, origin)
	v.run(`for (let i = 0; i < 4; i++) { ended(sse.openAsync(URL)); sse.open(URL, () => {}) }`)
	assert.EqualValues(t, 1, connections.Load())
	assert.Len(t, v.values("http_reqs"), 8)
}

func TestAsyncMetrics(t *testing.T) {
	origin, _ := server(t, each(func(p *peer, r *http.Request) {
		if r.URL.Path == "/events" {
			p.say("HTTP/1.1 307 Temporary Redirect\r\nLocation: /second\r\nContent-Length: 0\r\n\r\n")
			return
		}
		p.reply("data: a\n\n: ping\n\ndata: b\n\n")
	}))
	v := asyncVU(t, origin)
	v.run(`ended(sse.openAsync(URL, {tags: {model: "m"}}))`)
	count := map[string]int{}
	for _, c := range metrics.GetBufferedSamples(v.samples) {
		for _, s := range c.GetSamples() {
			count[s.Metric.Name+" "+tag(s, "status")]++
			assert.Equal(t, "m", tag(s, "model"))
			assert.Equal(t, "::checkout", tag(s, "group"))
		}
	}
	assert.Equal(t, 2, count["sse_event 200"], "a comment alone is no event here")
	for _, name := range []string{"http_reqs", "http_req_failed", "http_req_duration", "http_req_waiting"} {
		assert.Equal(t, 1, count[name+" 307"], name)
		assert.Equal(t, 1, count[name+" 200"], name)
	}
}

// What the script is slow to take waits, is not lost, and keeps its arrival time.
func TestAsyncBackPressure(t *testing.T) {
	const events, size = 300, 1 << 16
	origin, _ := server(t, each(func(p *peer, _ *http.Request) {
		p.say(streamHead)
		for i := range events {
			p.chunk(fmt.Sprintf("id: %d\ndata: %s\n\n", i, strings.Repeat("x", size)))
		}
		p.end()
	}))
	v := asyncVU(t, origin)
	assert.JSONEq(t, fmt.Sprintf(`[%d,true,"connection closed"]`, events), v.run(`
		const client = sse.openAsync(URL);
		client.waitForEvent((e) => e.id === "0");
		pause(30);
		let n = 1, ordered = true, lastMs = 0;
		for (;;) try {
			const e = client.waitForEvent();
			ordered &&= e.id === String(n++) && e.arrivalMs >= lastMs;
			lastMs = e.arrivalMs;
		} catch (e) { return [n, ordered, e.message] }`))
}
