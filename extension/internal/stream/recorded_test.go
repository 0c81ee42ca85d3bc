package stream

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const recordings = "testdata/recorded"

// recording is one response out of a recorded file: the bytes that curl printed of vLLM 0.32.0 and of llama-server, both
// with tiny models of random weights. Files hold one of three things.
//
//	a response with its head, as curl -i --raw printed it, maybe followed by a note "curl rc N"
//	a list of bodies, each headed by "### what was sent" and followed by a note "HTTP status content-type"
//	one body, maybe followed by a note "HTTP status"
//
// The notes are no part of a response. A body without its head is fed with the status and type that the note tells,
// through FeedHead and FeedBody; where there is no note the request was a plain GET that succeeded.
type recording struct {
	file, title string
	raw         []byte // with its head, or
	body        []byte // without
	status      int
	contentType string
}

var statusNote = regexp.MustCompile(`(?m)^HTTP (\d+)(?: (\S.*))?\n?\z`)

// loadRecording reads the response of a file, by its title where the file holds several.
func loadRecording(t testing.TB, file, title string) recording {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(recordings, filepath.FromSlash(file)))
	require.NoError(t, err)
	r := recording{file: file, title: title}
	if bytes.HasPrefix(content, []byte("HTTP/1.")) {
		r.raw = withoutCurlNote(content)
		return r
	}
	if title != "" {
		content = section(t, content, title)
	}
	r.status, r.contentType = 200, "application/json"
	if note := statusNote.FindSubmatchIndex(content); note != nil {
		r.status, err = strconv.Atoi(string(content[note[2]:note[3]]))
		require.NoError(t, err)
		if note[4] >= 0 {
			r.contentType = string(content[note[4]:note[5]])
		}
		content = content[:note[0]]
	}
	r.body = content
	return r
}

// withoutCurlNote drops the note; after a chunked body it follows the last line break, after any other the last byte.
func withoutCurlNote(content []byte) []byte {
	if i := bytes.LastIndex(content, []byte("curl rc ")); i >= 0 {
		return content[:i]
	}
	return content
}

// titles lists the headings of a file of several bodies.
func titles(content []byte) []string {
	var found []string
	for line := range bytes.Lines(content) {
		if title, ok := bytes.CutPrefix(line, []byte("### ")); ok {
			found = append(found, string(bytes.TrimSpace(title)))
		}
	}
	return found
}

func section(t testing.TB, content []byte, title string) []byte {
	t.Helper()
	_, rest, found := bytes.Cut(content, []byte("### "+title+"\n"))
	require.True(t, found, "no section %q", title)
	body, _, _ := bytes.Cut(rest, []byte("\n### "))
	return body
}

// play feeds the response in receives of the given sizes, the rest in one, and ends the connection after it. Every
// receive has a stamp of its own.
func (r recording) play(p *Parser, o Options, sizes ...int) *Result {
	p.Reset(o)
	atNs := int64(1)
	if r.raw == nil {
		p.FeedHead(r.status, http.Header{"Content-Type": {r.contentType}}, atNs)
	}
	bytes := r.raw
	if r.raw == nil {
		bytes = r.body
	}
	for len(bytes) > 0 {
		size := len(bytes)
		if len(sizes) > 0 {
			size, sizes = min(size, sizes[0]), sizes[1:]
		}
		atNs++
		if r.raw == nil {
			p.FeedBody(bytes[:size], atNs)
		} else {
			p.Feed(bytes[:size], atNs)
		}
		bytes = bytes[size:]
	}
	p.End(nil, atNs+1)
	return p.Result()
}

const (
	engineDied   = "EngineCore encountered an issue. See stack trace (above) for the root cause."
	unparsed     = "The model produced output that does not match the expected Content-only format"
	sixLines     = "\n\n\n\n\n\n"
	idsText      = " ri rikoulukoulukoulu"
	promptNeeded = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"
)

// recorded lists what the recordings hold, read off the files by eye. chunks are events with text.
var recorded = []struct {
	file, title string
	api         API
	want        Result // Arrivals, times and BodyBytes aside
	chunks      int
}{
	{"llama/chat_nostream.txt", "", Chat, Result{Status: 200, CachedKnown: true, InputTokens: 21, CachedTokens: 20, OutputTokens: 6, FinishReason: "length", Text: sixLines}, 0},
	{"llama/chat_stream.txt", "", Chat, Result{Status: 200, CachedKnown: true, InputTokens: 21, OutputTokens: 4, FinishReason: "length", Text: "\n\n\n\n", Events: 8}, 4},
	{"llama/compl_ids.txt", "", Completions, Result{Status: 200, CachedKnown: true, InputTokens: 5, OutputTokens: 5, FinishReason: "length", Text: idsText}, 0},
	{"llama/compl_stream.txt", "", Completions, Result{Status: 200, CachedKnown: true, InputTokens: 5, CachedTokens: 4, OutputTokens: 6, FinishReason: "length", Text: idsText + "koulu", Events: 8}, 6},
	{"llama/embeddings.json", "", Embeddings, Result{Status: 200, InputTokens: 7}, 0},
	{"llama/models.json", "", JSON, Result{Status: 200, TokenSource: FromChunks}, 0},
	{"llama/metrics_all.txt", "", JSON, Result{Status: 200, Failure: Malformed, TokenSource: FromChunks, Message: "the body is not JSON: # HELP llamacpp:prompt_tokens_total Number of prompt tokens processed"}, 0},
	{"llama/mid_1.txt", "", Completions, Result{Status: 200, Failure: ErrorEvent, Message: unparsed, OutputTokens: 3, TokenSource: FromChunks, Text: "piva sakou bailakai", Events: 4}, 3},
	{"llama/mid_2.txt", "", Completions, Result{Status: 200, Failure: ErrorEvent, Message: unparsed, OutputTokens: 4, TokenSource: FromChunks, Text: " vila sholune bathifu", Events: 5}, 4},
	{"llama/mid_3.txt", "", Completions, Result{Status: 200, Failure: ErrorEvent, Message: unparsed, OutputTokens: 2, TokenSource: FromChunks, Text: "niba minachou", Events: 3}, 2},
	{"llama/mid_4.txt", "", Completions, Result{Status: 200, Failure: ErrorEvent, Message: unparsed, OutputTokens: 2, TokenSource: FromChunks, Text: "sho chobi", Events: 3}, 2},
	{"llama/mid_5.txt", "", Completions, Result{Status: 200, Failure: ErrorEvent, Message: unparsed, TokenSource: FromChunks, Events: 1}, 0},
	{"llama/mid_6.txt", "", Completions, Result{Status: 200, Failure: ErrorEvent, Message: unparsed, OutputTokens: 1, TokenSource: FromChunks, Text: " tihu", Events: 2}, 1},
	{"llama/errors.txt", "unknown model (completions, stream)", Completions, Result{Status: 200, CachedKnown: true, InputTokens: 1, OutputTokens: 3, FinishReason: "length", Text: "hi sipuba m", Events: 5}, 3},
	{"llama/errors.txt", "prompt too long: ids 3000 stream", Completions, refused(400, "request (3000 tokens) exceeds the available context size (2048 tokens), try increasing it"), 0},
	{"llama/errors.txt", "prompt too long: ids 3000 nostream", Completions, refused(400, "request (3000 tokens) exceeds the available context size (2048 tokens), try increasing it"), 0},
	{"llama/errors.txt", "prompt + max_tokens > ctx", Completions, refused(500, unparsed), 0},
	{"llama/errors.txt", "token id out of vocab", Completions, refused(400, "Prompt contains invalid tokens"), 0},
	{"llama/errors.txt", "malformed JSON", Completions, refused(500, "[json.exception.parse_error.101] parse error at line 1, column 10: syntax error while parsing value - unexpected end of input; expected '[', '{', or a literal"), 0},
	{"llama/errors.txt", "missing prompt", Completions, refused(400, "[json.exception.out_of_range.403] key 'prompt' not found"), 0},
	{"llama/errors.txt", "empty prompt", Completions, Result{Status: 200, CachedKnown: true, Failure: Empty, Message: "the reply held no output", FinishReason: "length"}, 0},
	{"llama/errors.txt", "min_tokens>max_tokens", Completions, Result{Status: 200, CachedKnown: true, InputTokens: 2, OutputTokens: 3, FinishReason: "length", Text: " hebaicomukaichisi"}, 0},
	{"llama/errors.txt", "temperature -1", Completions, Result{Status: 200, CachedKnown: true, InputTokens: 2, CachedTokens: 1, OutputTokens: 3, FinishReason: "length", Text: " b b b"}, 0},
	{"llama/errors.txt", "no messages", Chat, refused(400, "'messages' is required"), 0},
	{"llama/errors.txt", "unknown route", Chat, refused(404, "File Not Found"), 0},
	{"llama/errors.txt", "embeddings without --embeddings", Embeddings, refused(501, "This server does not support embeddings. Start it with `--embeddings`"), 0},
	{"llama/errors.txt", "wrong content type", Completions, Result{Status: 200, CachedKnown: true, InputTokens: 2, CachedTokens: 1, OutputTokens: 2, FinishReason: "length", Text: "Couga"}, 0},

	{"vllm/chat_nostream.txt", "", Chat, Result{Status: 200, InputTokens: 21, OutputTokens: 6, FinishReason: "length", Text: sixLines}, 0},
	{"vllm/chat_stream.txt", "", Chat, Result{Status: 200, InputTokens: 21, OutputTokens: 6, FinishReason: "length", Text: sixLines, Events: 9}, 6},
	{"vllm/chat_stream_cont.txt", "", Chat, Result{Status: 200, InputTokens: 21, OutputTokens: 3, FinishReason: "length", Text: "\n\n\n", Events: 6}, 3},
	{"vllm/compl_ids.txt", "", Completions, Result{Status: 200, InputTokens: 5, OutputTokens: 5, FinishReason: "length", Text: idsText}, 0},
	{"vllm/compl_stream.txt", "", Completions, Result{Status: 200, InputTokens: 5, OutputTokens: 6, FinishReason: "length", Text: idsText + "koulu", Events: 8}, 6},
	{"vllm/embeddings.json", "", Embeddings, Result{Status: 200, InputTokens: 7}, 0},
	{"vllm/models.json", "", JSON, Result{Status: 200, TokenSource: FromChunks}, 0},
	{"vllm/metrics_all.txt", "", JSON, Result{Status: 200, Failure: Malformed, TokenSource: FromChunks, Message: "the body is not JSON: # HELP python_gc_objects_collected_total Objects collected during gc"}, 0},
	{"vllm/crash_1.txt", "", Completions, died(2), 0},
	{"vllm/crash_2.txt", "", Completions, died(2), 0},
	{"vllm/crash_3.txt", "", Completions, died(2), 0},
	{"vllm/crash_4.txt", "", Completions, died(2), 0},
	{"vllm/crash_5.txt", "", Completions, died(2), 0},
	{"vllm/crash_6.txt", "", Completions, refused(500, engineDied), 0},
	{"vllm/crash_7.txt", "", Completions, Result{Status: 200, Failure: ErrorEvent, Message: engineDied, OutputTokens: 1, TokenSource: FromChunks, Text: " voufi", Events: 3}, 1},
	{"vllm/crash_8.txt", "", Completions, died(2), 0},
	// Named for the run in which the engine died; this stream had ended before.
	{"vllm/midstream_engine_death.txt", "", Completions, Result{Status: 200, InputTokens: 5, OutputTokens: 50, FinishReason: "length", Events: 52}, 50},
	{"vllm/errors.txt", "unknown model (completions, stream)", Completions, refused(404, "The model `nope` does not exist. Valid aliases: tiny."), 0},
	{"vllm/errors.txt", "prompt too long: ids 3000", Completions, refused(400, "This model's maximum context length is 2048 tokens. However, your prompt contains 3000 input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=3000)"), 0},
	{"vllm/errors.txt", "prompt + max_tokens > max_model_len", Completions, Result{Status: 200, InputTokens: 2000, OutputTokens: 48, FinishReason: "length"}, 0},
	{"vllm/errors.txt", "chat too long", Chat, refused(400, "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=2049)"), 0},
	{"vllm/errors.txt", "token id out of vocab", Completions, refused(400, "Token id 999999 is out of vocabulary"), 0},
	{"vllm/errors.txt", "malformed JSON", Completions, refused(400, "1 validation error: {'type': 'json_invalid', 'loc': 'body.9', 'msg': 'JSON decode error', 'input': '<dict of 0 items>', 'ctx': {'error': 'Expecting value'}}"), 0},
	{"vllm/errors.txt", "missing prompt", Completions, refused(400, promptNeeded), 0},
	{"vllm/errors.txt", "empty prompt", Completions, refused(400, promptNeeded), 0},
	{"vllm/errors.txt", "min_tokens>max_tokens", Completions, refused(400, "min_tokens must be less than or equal to max_tokens=3, got 9."), 0},
	{"vllm/errors.txt", "temperature -1", Completions, refused(400, "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)"), 0},
	{"vllm/errors.txt", "no messages", Chat, refused(400, "1 validation error: {'type': 'missing', 'loc': 'body.messages', 'msg': 'Field required', 'input': '<dict of 2 items>'}"), 0},
	{"vllm/errors.txt", "unknown route", Chat, refused(404, "Not Found"), 0},
	{"vllm/errors.txt", "embeddings on generative", Embeddings, refused(404, "Not Found"), 0},
	{"vllm/errors.txt", "unknown field", Completions, Result{Status: 200, InputTokens: 2, OutputTokens: 2, FinishReason: "length", Text: "kipi samovi"}, 0},
	{"vllm/errors.txt", "wrong content type", Completions, refused(400, "1 validation error: Unsupported Media Type: Only 'application/json' is allowed"), 0},
}

func refused(status int, message string) Result {
	class := HTTP4xx
	if status >= 500 {
		class = HTTP5xx
	}
	return Result{Status: status, Failure: class, Message: message, TokenSource: FromChunks}
}

func died(events int) Result {
	return Result{Status: 200, Failure: ErrorEvent, Message: engineDied, TokenSource: FromChunks, Events: events}
}

func TestRecorded(t *testing.T) {
	var p Parser // one for all: nothing of one response may show in the next
	for _, tt := range recorded {
		t.Run(tt.file+" "+tt.title, func(t *testing.T) {
			r := loadRecording(t, tt.file, tt.title)
			o := Options{API: tt.api, KeepText: tt.want.Text != ""}
			check := func(t require.TestingT, got Result) {
				want := tt.want
				if want.TokenSource == "" {
					want.TokenSource = FromUsage
				}
				require.Len(t, got.Arrivals, tt.chunks)
				tokens := 0
				for i, a := range got.Arrivals {
					tokens += int(a.Tokens)
					require.True(t, i == 0 || a.AtNs >= got.Arrivals[i-1].AtNs)
				}
				require.Equal(t, tt.chunks, tokens, "these servers sent a token a chunk")
				if want.Failure == Malformed {
					require.Contains(t, got.Message, want.Message)
					got.Message = want.Message
				}
				require.Equal(t, tt.want.Events > 0, got.Streamed)
				require.True(t, r.raw == nil || got.Proto == "HTTP/1.1")
				if len(got.Arrivals) > 0 {
					require.Equal(t, got.Arrivals[0].AtNs, got.FirstOutputNs)
					require.Equal(t, got.FirstOutputNs, got.FirstNonReasonNs)
					require.Equal(t, got.Arrivals[len(got.Arrivals)-1].AtNs, got.LastOutputNs)
				} else if want.Failure == None {
					require.Equal(t, got.EndNs, got.FirstOutputNs)
					require.Equal(t, got.EndNs, got.FirstNonReasonNs)
					require.Equal(t, got.EndNs, got.LastOutputNs)
				}
				require.Equal(t, want, comparable(got))
			}
			n := len(r.raw) + len(r.body)
			whole := *r.play(&p, o)
			check(t, whole)
			if tt.chunks > 0 {
				require.Equal(t, tt.chunks-1, whole.Coalesced)
			}
			bytewise := *r.play(&p, o, ones(n)...)
			check(t, bytewise)
			require.Zero(t, bytewise.Coalesced)
			require.Equal(t, whole.BodyBytes, bytewise.BodyBytes)
			rapid.Check(t, func(t *rapid.T) {
				check(t, *r.play(&p, o, rapid.SliceOfN(rapid.IntRange(1, 400), 0, 60).Draw(t, "sizes")...))
			})
		})
	}
}

// comparable leaves what the bytes say, without what depends on when they came.
func comparable(r Result) Result {
	r.Proto, r.Streamed, r.KeepAlive, r.Coalesced, r.BodyBytes, r.Arrivals = "", false, false, 0, 0, nil
	r.FirstByteNs, r.FirstOutputNs, r.FirstNonReasonNs, r.LastOutputNs, r.EndNs = 0, 0, 0, 0, 0
	return r
}

// No recording, and no response in one, is left out of the table.
func TestRecordings_AreAllTested(t *testing.T) {
	tested := map[string]bool{}
	for _, tt := range recorded {
		tested[tt.file+" "+tt.title] = true
	}
	files, err := filepath.Glob(filepath.Join(recordings, "*", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	found := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		name := filepath.Base(filepath.Dir(file)) + "/" + filepath.Base(file)
		all := titles(content)
		if filepath.Base(file) != "errors.txt" {
			all = []string{""}
		}
		for _, title := range all {
			require.True(t, tested[name+" "+title], "%s %s", name, title)
			found++
		}
	}
	require.Equal(t, len(recorded), found)
}
