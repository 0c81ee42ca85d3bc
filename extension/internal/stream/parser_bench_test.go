package stream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// words are tokens of usual length; they differ so that no two neighbours are the same.
var words = []string{" the", "ing", "\\n", " tokens", ",", " a", " prefill", "s", " \\u00e9t\\u00e9", ".", " of", " is"}

// chunkEvents returns n stream events, each as a server writes it into one HTTP chunk.
func chunkEvents(n int, event func(i int, word string) string) [][]byte {
	chunks := make([][]byte, n)
	for i := range chunks {
		e := event(i, words[i%len(words)])
		chunks[i] = fmt.Appendf(nil, "%x\r\n%s\r\n", len(e), e)
	}
	return chunks
}

const streamHead = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"

func chatEvent(_ int, word string) string {
	return `data: {"id":"chatcmpl-ad938afe4b71d2e1","object":"chat.completion.chunk","created":1795340378,"model":"tiny","choices":[{"index":0,"delta":{"content":"` +
		word + `"},"logprobs":null,"finish_reason":null,"token_ids":null}]}` + "\n\n"
}

func continuousEvent(i int, word string) string {
	return fmt.Sprintf(`data: {"id":"chatcmpl-9bbbed8e96163f1f","object":"chat.completion.chunk","created":1795340378,"model":"tiny","choices":[{"index":0,"delta":{"content":"%s"},"logprobs":null,"finish_reason":null,"token_ids":null}],"usage":{"prompt_tokens":21,"total_tokens":%d,"completion_tokens":%d,"completion_tokens_details":null}}`+"\n\n",
		word, 22+i, i+1)
}

func responsesEvent(i int, word string) string {
	return fmt.Sprintf("event: response.output_text.delta\n"+`data: {"type":"response.output_text.delta","sequence_number":%d,"item_id":"msg_67c9fdcf37fc8190ba82116e33fb28c5","output_index":0,"content_index":0,"delta":"%s","logprobs":[]}`+"\n\n",
		i+4, word)
}

func messagesEvent(_ int, word string) string {
	return "event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"` + word + `"}}` + "\n\n"
}

// changingEvent has an id that differs each time, so that no event is like the one before.
func changingEvent(i int, word string) string {
	return strings.Replace(chatEvent(i, word), "ad938afe", fmt.Sprintf("%08x", i), 1)
}

var benchmarkStreams = []struct {
	name  string
	api   API
	event func(int, string) string
}{
	{"chat", Chat, chatEvent},
	{"continuous usage", Chat, continuousEvent},
	{"responses", Responses, responsesEvent},
	{"messages", Messages, messagesEvent},
	{"changing id", Chat, changingEvent},
	{"full scan", Chat, scannedEvent},
}

// BenchmarkEvent is the cost of one event that arrives in a receive of its own, framing included.
func BenchmarkEvent(b *testing.B) {
	for _, bench := range benchmarkStreams {
		b.Run(bench.name, func(b *testing.B) {
			const perStream = 1000
			chunks := chunkEvents(perStream, bench.event)
			var p Parser
			b.SetBytes(int64(len(chunks[0])))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%perStream == 0 {
					p.Reset(Options{API: bench.api})
					p.Feed([]byte(streamHead), 1)
				}
				p.Feed(chunks[i%perStream], int64(i))
			}
			if p.OutputTokensSoFar() == 0 {
				b.Fatal("no tokens")
			}
		})
	}
}

// BenchmarkEventSplit is the same with each event in two receives, so that it is never whole in one.
func BenchmarkEventSplit(b *testing.B) {
	const perStream = 1000
	chunks := chunkEvents(perStream, chatEvent)
	var p Parser
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%perStream == 0 {
			p.Reset(Options{API: Chat})
			p.Feed([]byte(streamHead), 1)
		}
		c := chunks[i%perStream]
		p.Feed(c[:100], int64(i))
		p.Feed(c[100:], int64(i))
	}
}

// BenchmarkLine is the cost of the same chunk in a line of its own.
func BenchmarkLine(b *testing.B) {
	const perStream = 1000
	chunks := chunkEvents(perStream, chatLine)
	var p Parser
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%perStream == 0 {
			p.Reset(Options{API: Chat})
			p.Feed([]byte(jsonHead), 1)
		}
		p.Feed(chunks[i%perStream], int64(i))
	}
	if p.OutputTokensSoFar() == 0 {
		b.Fatal("no tokens")
	}
}

const jsonHead = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"

func chatLine(i int, word string) string {
	return strings.TrimSuffix(strings.TrimPrefix(chatEvent(i, word), "data: "), "\n")
}

// BenchmarkGjson is what reading the same event's delta and usage with gjson costs, without framing and event stream.
func BenchmarkGjson(b *testing.B) {
	data := []byte(strings.TrimSpace(strings.TrimPrefix(continuousEvent(7, " the"), "data: ")))
	b.ReportAllocs()
	for b.Loop() {
		if !gjson.ValidBytes(data) {
			b.Fatal("invalid")
		}
		r := gjson.GetManyBytes(data, "choices.0.delta.content", "choices.0.finish_reason", "usage.completion_tokens", "error")
		if r[0].Str != " the" {
			b.Fatal(r)
		}
	}
}

// BenchmarkScan is the full scan of the same event by this package.
func BenchmarkScan(b *testing.B) {
	data := []byte(strings.TrimSpace(strings.TrimPrefix(continuousEvent(7, " the"), "data: ")))
	var s scanner
	b.ReportAllocs()
	for b.Loop() {
		var f facts
		s.reset(data)
		if !s.scan(Chat, true, &f) || string(f.text) != " the" {
			b.Fatal(f)
		}
	}
}

// BenchmarkReply is a whole reply of 3,000 tokens that is not streamed, as a token generator sends it.
func BenchmarkReply(b *testing.B) {
	body := `{"input_tokens": 8, "output_tokens": 3000, "text": "` + strings.Repeat("lorem ipsum dolor sit amet, ", 500) + `"}`
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n", len(body))
	response := []byte(head + body)
	var p Parser
	b.SetBytes(int64(len(response)))
	b.ReportAllocs()
	for b.Loop() {
		p.Reset(Options{API: JSON, InputTokensPointer: "/input_tokens", OutputTokensPointer: "/output_tokens"})
		if !p.Feed(response, 1) || p.Result().OutputTokens != 3000 {
			b.Fatal(p.Result())
		}
	}
}
