package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var errConnectionReset = errors.New("read: connection reset by peer")

// chunked is a whole response with each event in a chunk of its own.
func chunkedStream(events ...string) string {
	var b strings.Builder
	b.WriteString(streamHead)
	for _, e := range events {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(e), e)
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

func withLength(status, contentType, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", status, contentType, len(body), body)
}

func jsonReply(body string) string { return withLength("200 OK", "application/json", body) }

// data makes an event of each JSON text, named by its type where the API does so.
func data(texts ...string) []string {
	events := make([]string, len(texts))
	for i, text := range texts {
		events[i] = "data: " + text + "\n\n"
	}
	return events
}

// parse feeds the response in one receive, and byte by byte, requires that both come to the same, and returns the latter,
// in which byte i has the stamp i+1.
func parse(t *testing.T, o Options, response string, end error) Result {
	t.Helper()
	var whole, bytewise Parser
	whole.Reset(o)
	whole.Feed([]byte(response), 1)
	whole.End(end, 2)
	bytewise.Reset(o)
	for i := range len(response) {
		bytewise.Feed([]byte{response[i]}, int64(i)+1)
	}
	bytewise.End(end, int64(len(response))+1)
	require.Equal(t, comparable(*whole.Result()), comparable(*bytewise.Result()))
	require.Len(t, bytewise.Result().Arrivals, len(whole.Result().Arrivals))
	return *bytewise.Result()
}

const (
	chatText   = `{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`
	chatFinish = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	chatUsage  = `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`
	chatError  = `{"error":{"message":"out of memory","code":500}}`
)

func TestFailures(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	chat := func(texts ...string) string { return chunkedStream(data(texts...)...) }
	cut := func(s string) string { return strings.TrimSuffix(s, "0\r\n\r\n") }
	for _, tt := range []struct {
		sentence string
		response string
		end      error
		forced   int
		want     Failure
		message  string // contained
	}{
		{"A whole stream is no failure.", chat(chatText, chatFinish, chatUsage, "[DONE]"), nil, 1, None, ""},
		{"A finish reason is enough.", chat(chatText, chatFinish), nil, 0, None, ""},
		{"[DONE] is enough.", chat(chatText, "[DONE]"), nil, 0, None, ""},
		{"A whole reply is none.", jsonReply(`{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"completion_tokens":1}}`), nil, 1, None, ""},

		{"429 has a class of its own; the message is the server's.", withLength("429 Too Many Requests", "application/json", `{"error":{"message":"slow down"}}`), nil, 0, HTTP429, "slow down"},
		{"4xx.", withLength("404 Not Found", "application/json", `{"message":"no such model"}`), nil, 0, HTTP4xx, "no such model"},
		{"The message may be called detail.", withLength("422 X", "application/json", `{"detail":[{"msg":"missing"}]}`), nil, 0, HTTP4xx, `[{"msg":"missing"}]`},
		{"The error may be a string.", withLength("400 X", "application/json", `{"error":"bad \u0022thing\u0022"}`), nil, 0, HTTP4xx, `bad "thing"`},
		{"Or an object without a message.", withLength("400 X", "application/json", `{"error":{"code":7}}`), nil, 0, HTTP4xx, `{"code":7}`},
		{"Of a page the first text is taken.", withLength("502 Bad Gateway", "text/html", "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"), nil, 0, HTTP5xx, "502 Bad Gateway"},
		{"Of text the first line.", withLength("503 X", "text/plain", "\n upstream  gone \nsecond"), nil, 0, HTTP5xx, "upstream gone"},
		{"Without a body the status must do.", withLength("500 X", "text/plain", ""), nil, 0, HTTP5xx, "HTTP status 500"},
		{"Google's OpenAI mode has the error in a list.", withLength("400 Bad Request", "application/json; charset=UTF-8", "[{\n  \"error\": {\"code\": 400, \"message\": \"Unknown name\", \"status\": \"INVALID_ARGUMENT\"}\n}\n]"), nil, 0, HTTP4xx, "Unknown name"},
		{"A redirect is an answer no API gives.", withLength("302 Found", "text/html", ""), nil, 0, HTTP4xx, "HTTP status 302"},
		{"It says where to: a slash may be missing.", "HTTP/1.1 307 X\r\nlocation: http://h/v1/\r\nContent-Length: 3\r\n\r\n<a>", nil, 0, HTTP4xx, "HTTP status 307: redirected to http://h/v1/, which is not followed"},
		{"A place that another answer names is no redirect.", "HTTP/1.1 500 X\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nno", nil, 0, HTTP5xx, "no"},
		{"A change of protocol is no answer of an API either.", "HTTP/1.1 101 Switching Protocols\r\n\r\n", nil, 0, HTTP4xx, "HTTP status 101"},
		{"A status counts even if its body breaks off,", "HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\n{\"error\":", errConnectionReset, 0, HTTP5xx, `{"error":`},
		{"or cannot be read.", "HTTP/1.1 429 X\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08", nil, 0, HTTP429, "HTTP status 429"},
		{"An error event under an error status is still that status.", "HTTP/1.1 503 X\r\nContent-Type: text/event-stream\r\n\r\ndata: " + chatError + "\n\n", nil, 0, HTTP5xx, "out of memory"},

		{"An error event fails the stream although [DONE] follows (vLLM),", chat(chatText, chatError, "[DONE]"), nil, 0, ErrorEvent, "out of memory"},
		{"or although a finish reason came,", chat(chatText, chatFinish, chatError, "[DONE]"), nil, 0, ErrorEvent, "out of memory"},
		{"also as the first event without [DONE] (llama-server),", chat(chatError), nil, 0, ErrorEvent, "out of memory"},
		{"also by its name,", chunkedStream("event: error\ndata: went wrong\n\n"), nil, 0, ErrorEvent, "went wrong"},
		{"even without data,", chunkedStream("event: error\n\n"), nil, 0, ErrorEvent, "without a message"},
		{"also as a field named error (llama-server),", chunkedStream("error: " + `{"code":500,"message":"no slot"}` + "\n\n"), nil, 0, ErrorEvent, "no slot"},
		{"also as vLLM wrote errors before it wrapped them,", chat(`{"object":"error","message":"too long","code":400}`), nil, 0, ErrorEvent, "too long"},
		{"and before the connection breaks.", cut(chat(chatText, chatError)), errConnectionReset, 0, ErrorEvent, "out of memory"},
		{"The first error counts.", chat(chatError, `{"error":"second"}`), nil, 0, ErrorEvent, "out of memory"},
		{"A null error is none.", chat(`{"error":null,"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}`), nil, 0, None, ""},
		{"An error in a 200 reply is an error too.", jsonReply(chatError), nil, 0, ErrorEvent, "out of memory"},

		{"Not HTTP.", "SSH-2.0-x\r\n", nil, 0, Malformed, "SSH-2.0-x"},
		{"Broken chunks.", streamHead + "zz\r\n", nil, 0, Malformed, "size"},
		{"Broken chunks after an error event leave the error.", cut(chat(chatError)) + "zz\r\n", nil, 0, ErrorEvent, "out of memory"},
		{"An encoding that was not asked for.", ok + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08", nil, 0, Malformed, "gzip"},
		{"An event that is not JSON.", chat(chatText, "nonsense", "[DONE]"), nil, 0, Malformed, "nonsense"},
		{"An event whose JSON ends early.", chat(`{"choices":[`, "[DONE]"), nil, 0, Malformed, "not JSON"},
		{"A reply that is not JSON.", jsonReply("hello"), nil, 0, Malformed, "hello"},
		{"A reply whose JSON ends early though its length is right.", jsonReply(`{"choices":[`), nil, 0, Malformed, "not JSON"},

		{"No byte at all.", "", nil, 0, Reset, "closed before a byte"},
		{"No byte, and an error.", "", errConnectionReset, 0, Reset, "reset by peer"},
		{"An end within the head.", "HTTP/1.1 200 OK\r\nContent-", nil, 0, Reset, "closed within the head"},
		{"An end within what is no head at all.", "\x15\x03\x01\x00\x02\x02\x16", nil, 0, Malformed, "not HTTP/1"},
		{"A break within chunks.", cut(chat(chatText)), errConnectionReset, 0, Reset, "reset by peer"},
		{"A break within a length.", ok + "Content-Length: 9\r\n\r\n{", errConnectionReset, 0, Reset, "reset by peer"},
		{"A break where only the end ends the body.", ok + "Content-Type: application/json\r\n\r\n{}", errConnectionReset, 0, Reset, "reset by peer"},
		{"A break after the finish reason came too late to matter.", cut(chat(chatText, chatFinish)), errConnectionReset, 0, None, ""},

		{"A stream that ends properly but says nothing of an end.", chat(chatText), nil, 0, Truncated, "neither"},
		{"A close within chunks.", cut(chat(chatText)), nil, 0, Truncated, "closed within the body"},
		{"A close is what io.EOF says, too.", cut(chat(chatText)), io.EOF, 0, Truncated, "closed within the body"},
		{"A close within an event is no malformed event.", streamHead + "ff\r\ndata: {\"choices\":[{\"del", nil, 0, Truncated, "closed within the body"},
		{"A close within a length.", ok + "Content-Length: 9\r\n\r\n{", nil, 0, Truncated, "closed within the body"},
		{"A close that cuts JSON off where only the close ends it.", ok + "Content-Type: application/json\r\n\r\n{\"choices\":[", nil, 0, Truncated, "closed within the body"},
		{"A close after [DONE] only costs the connection.", cut(chat(chatText, "[DONE]")), nil, 0, None, ""},
		{"One of two choices unfinished.", chat(`{"choices":[{"index":0,"text":"a","finish_reason":"stop"},{"index":1,"text":"b","finish_reason":null}]}`), nil, 0, Truncated, "neither"},

		{"No event with output.", chat(`{"choices":[{"delta":{"role":"assistant","content":""}}]}`, chatFinish, "[DONE]"), nil, 0, Empty, "no output"},
		{"No event with output, whatever usage says: there is nothing to time.", chat(chatFinish, chatUsage, "[DONE]"), nil, 0, Empty, "no output"},
		{"A stream of nothing but its end.", chat("[DONE]"), nil, 0, Empty, "no output"},
		{"A reply without a body.", withLength("200 OK", "application/json", ""), nil, 0, Empty, "no output"},
		{"A reply that counts no token.", jsonReply(`{"choices":[{"text":"","finish_reason":"length"}],"usage":{"completion_tokens":0}}`), nil, 0, Empty, "no output"},
		{"Empty comes before short.", chat("[DONE]"), nil, 5, Empty, "no output"},

		{"Fewer tokens than forced, by usage.", chat(chatText, chatFinish, chatUsage), nil, 2, Short, "1 of 2 output tokens came (counted by usage)"},
		{"Fewer tokens than forced, by chunks.", chat(chatText, chatText, chatFinish), nil, 3, Short, "2 of 3 output tokens came (counted by chunks)"},
		{"Fewer in a reply.", jsonReply(`{"choices":[{"text":"a","finish_reason":"length"}],"usage":{"completion_tokens":48}}`), nil, 100, Short, "48 of 100"},
		{"More than forced is fine.", chat(chatText, chatText, chatFinish), nil, 1, None, ""},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := parse(t, Options{API: Chat, ExpectedOutputTokens: tt.forced}, tt.response, tt.end)
			require.Equal(t, tt.want, r.Failure, r.Message)
			require.Contains(t, r.Message, tt.message)
			require.Equal(t, tt.want == None, r.Message == "")
		})
	}
}

func TestMessagesAreOneShortLine(t *testing.T) {
	long := strings.Repeat("é\\n\\u0007 ", 300)
	r := parse(t, Options{}, withLength("400 X", "application/json", `{"error":{"message":"`+long+`"}}`), nil)
	require.LessOrEqual(t, len(r.Message), maxMessageBytes)
	require.Greater(t, len(r.Message), maxMessageBytes-10)
	require.True(t, strings.HasPrefix(r.Message, "é é é"))
	require.True(t, strings.HasSuffix(r.Message, "..."))
	r = parse(t, Options{}, withLength("400 X", "text/plain", "a\x00\x1b[31m\xff\tb c\r\nd"), nil)
	require.Equal(t, "a[31m b c", r.Message)
}

func TestConnectionReuse(t *testing.T) {
	whole := chunkedStream(data(chatText, "[DONE]")...)
	var p Parser
	feed := func(parts ...string) *Result {
		p.Reset(Options{})
		for i, part := range parts {
			p.Feed([]byte(part), int64(i)+1)
		}
		return p.Result()
	}
	require.True(t, feed(whole).KeepAlive)
	require.False(t, feed(whole+"x").KeepAlive, "bytes after the response in the same receive")
	require.False(t, feed(whole, "\r\n").KeepAlive, "bytes after the response in another")
	require.Equal(t, None, p.Result().Failure)
	feed(whole)
	p.End(nil, 9)
	require.False(t, p.Result().KeepAlive, "the connection ended")
	require.EqualValues(t, 1, p.Result().EndNs)
	require.False(t, feed(strings.Replace(whole, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)).KeepAlive)
	require.False(t, feed("garbage\r\n").KeepAlive)
	require.True(t, feed(withLength("500 X", "text/plain", "x")).KeepAlive)
}

func TestParser_WhatTheReaderAsks(t *testing.T) {
	var p Parser
	p.Reset(Options{})
	require.False(t, p.HeadDone())
	require.EqualValues(t, -1, p.Remaining())
	require.False(t, p.Feed([]byte("HTTP/1.1 200 OK\r\nRetry-After: 7\r\nContent-Length: 4\r\n"), 1))
	require.False(t, p.HeadDone())
	require.Equal(t, 200, p.Result().Status)
	require.False(t, p.Feed([]byte("\r\n{}"), 2))
	require.True(t, p.HeadDone())
	require.EqualValues(t, 2, p.Remaining())
	require.Equal(t, "7", p.Result().RetryAfter)
	require.True(t, p.Feed([]byte("  "), 3))
	require.Zero(t, p.Remaining())

	p.Reset(Options{})
	p.Feed([]byte(streamHead+"5\r\nda"), 1)
	require.EqualValues(t, -1, p.Remaining())
	p.Reset(Options{})
	p.Feed([]byte("HTTP/1.0 200 OK\r\n\r\n"), 1)
	require.EqualValues(t, -2, p.Remaining())
	p.Reset(Options{})
	p.Feed([]byte("HTTP/1.1 103 Early Hints\r\n\r\n"), 1)
	require.False(t, p.HeadDone())
	require.Zero(t, p.Result().Status, "an interim response is not the response")
}

// Each event comes in a receive of its own, so that every time is told apart.
func TestTimes(t *testing.T) {
	var p Parser
	p.Reset(Options{API: Chat})
	p.Feed([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), 10)
	p.Feed([]byte("Transfer-Encoding: chunked\r\n\r\n"), 20)
	at := int64(30)
	for _, e := range data(
		`{"choices":[{"delta":{"role":"assistant","content":null}}]}`,   // 30
		`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`,            // 40
		`{"choices":[{"delta":{"reasoning":"hm"}}]}`,                    // 50
		`{"choices":[{"delta":{"content":"a"}}]}`,                       // 60
		`{"choices":[{"delta":{"content":"b"}}]}`,                       // 70
		`{"choices":[{"delta":{"content":""},"finish_reason":"stop"}]}`, // 80
		chatUsage, "[DONE]") { // 90, 100
		p.Feed(fmt.Appendf(nil, "%x\r\n%s\r\n", len(e), e), at)
		at += 10
	}
	require.True(t, p.Feed([]byte("0\r\n\r\n"), at))
	r := p.Result()
	require.Equal(t, []int64{10, 40, 60, 70, 110}, []int64{r.FirstByteNs, r.FirstOutputNs, r.FirstNonReasonNs, r.LastOutputNs, r.EndNs})
	require.Equal(t, []Arrival{{40, 0, 1, 0}, {50, 0, 1, 0}, {60, 0, 1, 0}, {70, 0, 1, 0}}, r.Arrivals)
	require.Zero(t, r.Coalesced)
	require.Equal(t, 8, r.Events)

	// A reply that is not streamed is there when its last byte is.
	reply := jsonReply(`{"choices":[{"text":"a"}],"usage":{"completion_tokens":1}}`)
	p.Reset(Options{API: Completions})
	p.Feed([]byte(reply[:len(reply)-1]), 10)
	p.Feed([]byte(reply[len(reply)-1:]), 20)
	r = p.Result()
	require.Equal(t, []int64{10, 20, 20, 20, 20}, []int64{r.FirstByteNs, r.FirstOutputNs, r.FirstNonReasonNs, r.LastOutputNs, r.EndNs})
	require.Empty(t, r.Arrivals)

	// The end of a connection is no byte: what only the end completes was complete with the byte before.
	p.Reset(Options{API: Completions})
	p.Feed([]byte("HTTP/1.1 200 OK\r\n\r\n{\"choices\":[{\"text\":\"a\"}]}"), 10)
	p.End(nil, 30)
	require.EqualValues(t, 10, p.Result().EndNs)
	p.Reset(Options{API: Completions})
	p.Feed([]byte(streamHead), 10)
	p.End(errConnectionReset, 30)
	require.EqualValues(t, 30, p.Result().EndNs, "a response that broke off ended when it did")
}

func TestCoalescing(t *testing.T) {
	one := string(chunkEvents(1, chatEvent)[0])
	var p Parser
	feed := func(parts ...string) int {
		p.Reset(Options{})
		p.Feed([]byte(streamHead), 1)
		for _, part := range parts {
			p.Feed([]byte(part), 5) // receives that happen to have the same stamp are still apart
		}
		return p.Result().Coalesced
	}
	require.Equal(t, 0, feed(one, one, one))
	require.Equal(t, 1, feed(one+one, one))
	require.Equal(t, 3, feed(one+one+one+one))
	require.Equal(t, 1, feed(one+one[:9], one[9:]+one), "where an event ends decides, not where it begins")
	p.Reset(Options{})
	p.Feed([]byte(streamHead+one), 5)
	p.FeedRest([]byte(one))
	p.FeedRest(nil)
	p.Feed([]byte(one), 5)
	require.Equal(t, 1, p.Result().Coalesced, "two feeds of one receive, then another receive")
	choice := func(index int) string {
		return string(chunkEvents(1, func(int, string) string {
			return data(fmt.Sprintf(`{"choices":[{"index":%d,"delta":{"content":"a"}}]}`, index))[0]
		})[0])
	}
	require.Equal(t, 0, feed(choice(0)+choice(1), choice(0)+choice(1)), "the choices of one step merge nothing")
	require.Equal(t, []Arrival{{5, 0, 1, 0}, {5, 0, 1, 1}, {5, 0, 1, 0}, {5, 0, 1, 1}}, p.Result().Arrivals)
	require.Equal(t, 1, feed(choice(0)+choice(1)+choice(0)))
	role := string(chunkEvents(1, func(int, string) string { return data(`{"choices":[{"delta":{"role":"assistant"}}]}`)[0] })[0])
	require.Equal(t, 0, feed(role+one), "only output chunks count")
	require.Len(t, p.Result().Arrivals, 1)
}

func TestTokens(t *testing.T) {
	usage := func(text, finish string, n int) string {
		return fmt.Sprintf(`{"choices":[{"index":0,"text":"%s","finish_reason":%s}],"usage":{"prompt_tokens":9,"total_tokens":%d,"completion_tokens":%d}}`, text, finish, 9+n, n)
	}
	final := func(n int) string {
		return fmt.Sprintf(`{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d}}`, n)
	}
	text := func(s, finish string) string {
		return fmt.Sprintf(`{"choices":[{"index":0,"text":"%s","finish_reason":%s}]}`, s, finish)
	}
	of := func(choice int, n int) string {
		return fmt.Sprintf(`{"choices":[{"index":%d,"text":"x","finish_reason":null}],"usage":{"completion_tokens":%d}}`, choice, n)
	}
	for _, tt := range []struct {
		sentence string
		events   []string
		chunks   []int32
		total    int
		source   TokenSource
		mismatch bool
	}{
		{"Without usage a chunk is a token.", []string{text("a", "null"), text("b", "null"), "[DONE]"}, []int32{1, 1}, 2, FromChunks, false},
		{"The final usage decides; servers merge tokens.", []string{text("ab", "null"), text("c", "null"), final(3), "[DONE]"}, []int32{1, 1}, 3, FromUsage, false},
		{"A null usage is none.", []string{`{"choices":[{"text":"a"}],"usage":null}`, "[DONE]"}, []int32{1}, 1, FromChunks, false},
		{"More chunks of text than tokens contradict each other.", []string{text("a", "null"), text("b", "null"), final(1), "[DONE]"}, []int32{1, 1}, 1, FromUsage, true},
		{"Usage of 0 is not believed when there was text.", []string{text("a", "null"), final(0), "[DONE]"}, []int32{1}, 1, FromChunks, true},
		{"Usage in the last chunk, which has no text, is the final one (llama-server).", []string{text("a", "null"), text("b", "null"), usage("", `"length"`, 2), "[DONE]"}, []int32{1, 1}, 2, FromUsage, false},
		{"A stream of one chunk has all its tokens in it.", []string{usage("abc", `"length"`, 3)}, []int32{3}, 3, FromUsage, false},
		{"Continuous usage gives each chunk its tokens.", []string{usage("a", "null", 1), usage("bcd", "null", 4), usage("e", `"stop"`, 5), final(5), "[DONE]"}, []int32{1, 3, 1}, 5, FromUsage, false},
		{"A chunk without text gives its tokens to the next one,", []string{usage("a", "null", 1), usage("", "null", 2), usage("", "null", 3), usage("b", "null", 4), final(4), "[DONE]"}, []int32{1, 3}, 4, FromUsage, false},
		{"also before the first one,", []string{usage("", "null", 2), usage("a", "null", 3), final(3), "[DONE]"}, []int32{3}, 3, FromUsage, false},
		{"and after the last one to that.", []string{usage("a", "null", 1), usage("", "null", 2), usage("", `"stop"`, 3), final(3), "[DONE]"}, []int32{3}, 3, FromUsage, false},
		{"Continuous usage counts when the final one is missing.", []string{usage("a", "null", 2), usage("b", "null", 3), "[DONE]"}, []int32{2, 1}, 3, FromContinuousUsage, false},
		{"A final usage that differs from it is a contradiction.", []string{usage("a", "null", 1), usage("b", "null", 2), final(5), "[DONE]"}, []int32{1, 1}, 5, FromUsage, true},
		{"A first chunk may say 0 without more to follow.", []string{usage("", "null", 0), text("a", "null"), text("b", "null"), final(2), "[DONE]"}, []int32{1, 1}, 2, FromUsage, false},
		{"A chunk with text for which usage did not grow has no token.", []string{usage("a", "null", 2), usage("b", "null", 2), final(2), "[DONE]"}, []int32{2, 0}, 2, FromUsage, false},
		{"A chunk that lacks its usage is one token, not counted again by the next.", []string{usage("a", "null", 1), text("b", "null"), usage("c", "null", 3), final(3), "[DONE]"}, []int32{1, 1, 1}, 3, FromUsage, false},
		{"Usage behind the finish reason is the final one, though it names a choice (OpenRouter).",
			[]string{text("a", "null"), text("b", "null"), text("", `"stop"`), usage("", "null", 6), "[DONE]"}, []int32{1, 1}, 6, FromUsage, false},
		{"So it is after continuous usage,", []string{usage("a", "null", 1), usage("b", "null", 3), usage("", `"stop"`, 3), usage("", "null", 3), "[DONE]"}, []int32{1, 2}, 3, FromUsage, false},
		{"and of several choices once all of them have ended.", []string{text("a", "null"), `{"choices":[{"index":1,"text":"b"}]}`,
			`{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}`, `{"choices":[{"index":1,"text":"","finish_reason":"stop"}]}`,
			usage("", "null", 6), "[DONE]"}, []int32{1, 1}, 6, FromUsage, false},
		{"One of two choices that has ended says nothing of the other.", []string{`{"choices":[{"index":0,"text":"x","finish_reason":"stop"}]}`, of(1, 1), usage("", "null", 1), of(1, 3), final(4), "[DONE]"},
			[]int32{1, 1, 2}, 4, FromUsage, false},
		{"Nor is its usage the final one then.", []string{text("a", "null"), `{"choices":[{"index":1,"text":"b"}]}`, text("", `"stop"`), usage("", "null", 1),
			`{"choices":[{"index":1,"text":"c"}]}`, "[DONE]"}, []int32{1, 1, 1}, 1, FromContinuousUsage, true},
		{"The larger of two final counts is true: the other may be empty.", []string{text("a", "null"), text("b", "null"), usage("", `"stop"`, 5), final(0), "[DONE]"},
			[]int32{1, 1}, 5, FromUsage, false},
		{"Of several choices each has its own continuous usage; the final one is their sum.", []string{of(0, 1), of(1, 1), of(0, 2), of(1, 4), final(6), "[DONE]"}, []int32{1, 1, 1, 3}, 6, FromUsage, false},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := parse(t, Options{API: Completions}, chunkedStream(data(tt.events...)...), nil)
			require.Equal(t, None, r.Failure, r.Message)
			tokens := make([]int32, len(r.Arrivals))
			for i, a := range r.Arrivals {
				tokens[i] = a.Tokens
			}
			require.Equal(t, tt.chunks, tokens)
			require.Equal(t, tt.total, r.OutputTokens)
			require.Equal(t, tt.source, r.TokenSource)
			require.Equal(t, tt.mismatch, r.TokenMismatch)
		})
	}
}

func TestHiddenReasoningIsAmongNoChunk(t *testing.T) {
	const reasoning = `{"choices":[{"index":0,"delta":{"reasoning":"hm"}}]}`
	usage := func(choices string, output, reasoning, total int) string {
		return fmt.Sprintf(`{"choices":[%s],"usage":{"prompt_tokens":9,"completion_tokens":%d,"total_tokens":%d,`+
			`"completion_tokens_details":{"reasoning_tokens":%d}}}`, choices, output, total, reasoning)
	}
	final := func(output, reasoning, total int) string { return usage("", output, reasoning, total) }
	continuous := func(output int) string {
		return fmt.Sprintf(`{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"completion_tokens":%d}}`, output)
	}
	for _, tt := range []struct {
		sentence      string
		events        []string
		chunks        []int32
		total, hidden int
		mismatch      bool
	}{
		{"Reasoning that the usage names and no chunk shows is hidden.", []string{chatText, chatText, chatFinish, final(102, 100, 111)},
			[]int32{1, 1}, 102, 100, false},
		{"Reasoning that came is not,", []string{reasoning, reasoning, chatText, chatFinish, final(3, 2, 12)}, []int32{1, 1, 1}, 3, 0, false},
		{"though the server merged its tokens.", []string{reasoning, chatText, chatFinish, final(51, 50, 60)}, []int32{1, 1}, 51, 0, false},
		{"What a server counts beside the output tokens was generated, too (xAI).", []string{chatText, chatText, chatFinish, final(2, 1, 12)},
			[]int32{1, 1}, 3, 1, false},
		{"Where it was shown, it is not hidden.", []string{reasoning, reasoning, chatText, chatText, chatFinish, final(2, 2, 13)},
			[]int32{1, 1, 1, 1}, 4, 0, false},
		{"Though it is more than the output.", []string{reasoning, chatText, chatFinish, final(1, 386, 396)}, []int32{1, 1}, 387, 0, false},
		{"So it is in continuous usage.", []string{usage(`{"index":0,"delta":{"reasoning":"hm"}}`, 0, 3, 12), usage(`{"index":0,"delta":{"content":"a"}}`, 2, 3, 14),
			chatFinish, final(2, 3, 14)}, []int32{3, 2}, 5, 0, false},
		{"A total that holds more than its parts is a contradiction (Gemini does not name its thinking).", []string{chatText, chatText, chatFinish, final(2, 0, 99)},
			[]int32{1, 1}, 2, 0, true},
		{"More reasoning than output is one, unless the total says that they are counted apart.", []string{chatText, chatText, chatFinish, final(2, 7, 11)},
			[]int32{1, 1}, 2, 0, true},
		{"Output that is all reasoning was output all the same.", []string{chatText, chatFinish, final(5, 5, 14)}, []int32{1}, 5, 0, false},
		{"More chunks than shown tokens contradict each other.", []string{chatText, chatText, chatText, chatFinish, final(5, 3, 14)},
			[]int32{1, 1, 1}, 5, 3, true},
		{"Continuous usage counts hidden tokens with the chunk after them.", []string{continuous(51), continuous(52), continuous(74), chatFinish,
			final(74, 70, 83)}, []int32{1, 1, 2}, 74, 70, false},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := parse(t, Options{API: Chat}, chunkedStream(data(tt.events...)...), nil)
			require.Equal(t, None, r.Failure, r.Message)
			var tokens []int32
			for _, a := range r.Arrivals {
				tokens = append(tokens, a.Tokens)
			}
			require.Equal(t, tt.chunks, tokens)
			require.Equal(t, []int{tt.total, tt.hidden, tt.total - tt.hidden}, []int{r.OutputTokens, r.HiddenTokens, r.ShownTokens()})
			require.Equal(t, tt.mismatch, r.TokenMismatch)
		})
	}
	reply := `{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":7}}}`
	r := parse(t, Options{API: Chat}, jsonReply(reply), nil)
	require.Equal(t, 7, r.HiddenTokens, "also in a reply that is not streamed")
}

func TestOutputTokensSoFar(t *testing.T) {
	var p Parser
	p.Reset(Options{})
	p.Feed([]byte(streamHead), 1)
	for i, chunk := range chunkEvents(3, chatEvent) {
		p.Feed(chunk, 2)
		require.Equal(t, i+1, p.OutputTokensSoFar())
	}
	p.Reset(Options{})
	p.Feed([]byte(streamHead), 1)
	for i, chunk := range chunkEvents(3, func(i int, word string) string { return continuousEvent(3*i, word) }) {
		p.Feed(chunk, 2)
		require.Equal(t, 3*i+1, p.OutputTokensSoFar())
	}
	p.End(errConnectionReset, 3)
	require.Equal(t, 7, p.OutputTokensSoFar())
}

func TestParser_OtherTransports(t *testing.T) {
	var p Parser
	p.Reset(Options{API: Chat})
	p.FeedHead(200, http.Header{"Content-Type": {"text/event-stream"}}, 5)
	require.True(t, p.HeadDone())
	require.EqualValues(t, -2, p.Remaining())
	for i, e := range data(chatText, chatText, chatFinish, "[DONE]") {
		p.FeedBody([]byte(e), int64(10*i+10))
	}
	p.End(nil, 50)
	r := p.Result()
	require.Equal(t, None, r.Failure, r.Message)
	require.Equal(t, []Arrival{{10, 0, 1, 0}, {20, 0, 1, 0}}, r.Arrivals)
	require.EqualValues(t, 5, r.FirstByteNs)
	require.EqualValues(t, 40, r.EndNs)
	require.True(t, r.KeepAlive)

	p.Reset(Options{API: Chat})
	p.FeedHead(308, http.Header{"Location": {"/v2"}}, 5)
	p.End(io.EOF, 7)
	require.Equal(t, "HTTP status 308: redirected to /v2, which is not followed", p.Result().Message)

	p.Reset(Options{API: Chat})
	p.FeedHead(429, http.Header{"Retry-After": {"3"}}, 5)
	p.FeedBody([]byte("full"), 6)
	p.End(io.EOF, 7)
	require.Equal(t, HTTP429, p.Result().Failure)
	require.Equal(t, "full", p.Result().Message)
	require.Equal(t, "3", p.Result().RetryAfter)

	p.Reset(Options{API: Chat})
	p.FeedHead(200, http.Header{"Content-Type": {"text/event-stream"}}, 5)
	p.FeedBody([]byte(data(chatText)[0]), 6)
	p.End(errConnectionReset, 7)
	require.Equal(t, Reset, p.Result().Failure)
	require.Len(t, p.Result().Arrivals, 1)

	p.Reset(Options{API: Chat})
	p.End(errConnectionReset, 7)
	require.Equal(t, Reset, p.Result().Failure)
	require.Zero(t, p.Result().FirstByteNs)
}

func TestBodyLimit(t *testing.T) {
	var p Parser
	p.Reset(Options{API: JSON})
	p.Feed(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", maxReplyBytes+1), 1)
	part := make([]byte, 1<<20)
	for range maxReplyBytes >> 20 {
		p.Feed(part, 2)
	}
	require.True(t, p.Feed(part[:1], 2))
	require.Equal(t, Malformed, p.Result().Failure)
	require.Contains(t, p.Result().Message, "64 MB")
	p.Reset(Options{API: JSON})
	require.LessOrEqual(t, cap(p.body), keepBytes)
}

func TestParser_StreamThatDoesNotEndIsGivenUp(t *testing.T) {
	event := []byte(`data: {"choices":[{"index":0,"text":"a"}]}` + "\n\n")
	many := bytes.Repeat(event, 1024)
	for _, framed := range []bool{false, true} {
		var p Parser
		p.Reset(Options{API: Completions})
		if framed {
			p.FeedHead(200, http.Header{"Content-Type": {"text/event-stream"}}, 1)
		} else {
			p.Feed([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"), 1)
		}
		fed, over := 0, false
		for fed < 2*maxArrivals && !over {
			if framed {
				p.FeedBody(many, int64(fed+2))
			} else {
				over = p.Feed(many, int64(fed+2))
			}
			fed += 1024
		}
		require.Len(t, p.Result().Arrivals, maxArrivals)
		if framed { // its end is the transport's
			p.End(nil, 1<<40)
		} else {
			require.True(t, over, "the connection need not be read any more")
			require.Equal(t, maxArrivals+1024, fed)
			require.False(t, p.Result().KeepAlive)
		}
		require.Equal(t, Malformed, p.Result().Failure)
		require.Contains(t, p.Result().Message, "more than 262144 output chunks")
		p.Reset(Options{API: Completions})
		require.Zero(t, cap(p.Result().Arrivals), "its memory is given back")
	}
}

func TestParser_EventThatDoesNotEndIsMalformed(t *testing.T) {
	var p Parser
	p.Reset(Options{API: Completions})
	p.Feed([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: "), 1)
	part := bytes.Repeat([]byte("x"), 1<<20)
	for range 64 {
		p.Feed(part, 2)
		require.LessOrEqual(t, cap(p.sse.line)+cap(p.sse.data), 3*maxEventBytes)
	}
	p.End(nil, 3)
	require.Equal(t, Malformed, p.Result().Failure)
	require.Contains(t, p.Result().Message, "an event is larger than 8 MB")
}

// A response costs no allocation once the parser has its buffers.
func TestParserAllocatesNothing(t *testing.T) {
	for _, bench := range benchmarkStreams {
		t.Run(bench.name, func(t *testing.T) {
			chunks := chunkEvents(50, bench.event)
			head, end := []byte(streamHead), []byte("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
			var p Parser
			respond := func() {
				p.Reset(Options{API: bench.api})
				p.Feed(head, 1)
				for i, chunk := range chunks {
					p.Feed(chunk[:30], int64(i))
					p.Feed(chunk[30:], int64(i))
				}
				p.Feed(end, 99)
			}
			respond()
			require.Equal(t, None, p.Result().Failure, p.Result().Message)
			require.Zero(t, testing.AllocsPerRun(20, respond))
		})
	}
}

// A message is fit for a log line and a record, whatever a server or a library says.
func TestMessage_IsOneLineOf300Bytes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{" a\r\n\tb\x7fc ", "a bc"},
		{strings.Repeat("ä", 148), strings.Repeat("ä", 148)},
		{strings.Repeat("ä", 200), strings.Repeat("ä", 148) + "..."}, // bytes, not characters
		{"x\xffy", "xy"},
		{"", ""},
	} {
		require.Equal(t, tt.want, Message(tt.in))
	}
}
