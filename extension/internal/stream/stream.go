// Package stream turns the bytes of one HTTP response of an LLM server into what is measured: output chunks with the
// time they arrived, token counts, and how the response ended. It does no I/O and reads no clock: the caller feeds
// byte ranges together with the time at which they arrived.
package stream

import "fmt"

// API is the wire format of a request and its response.
type API uint8

// The formats: OpenAI chat completions, completions, embeddings and responses, Anthropic messages, any JSON reply
// whose token counts are found by JSON pointers, and what Options.Wire describes.
const (
	Chat API = iota
	Completions
	Embeddings
	Responses
	Messages
	JSON
	Custom
)

var apiNames = [...]string{"chat", "completions", "embeddings", "responses", "messages", "json", "custom"}

// String returns the API's name as it stands in settings and records.
func (a API) String() string { return apiNames[a] }

// ParseAPI returns the API of that name, or an error that lists the allowed names.
func ParseAPI(name string) (API, error) {
	for i, n := range apiNames {
		if n == name {
			return API(i), nil
		}
	}
	return 0, fmt.Errorf("api %q is not known; use one of %v", name, apiNames)
}

// Failure is the one class a request that did not complete is counted under; "" means that it completed.
type Failure string

// The failure classes. The parser assigns those from http_4xx down to short; the rest come from the connection.
const (
	None        Failure = ""
	Connect     Failure = "connect"     // no connection: refused, unreachable, name not found
	TLS         Failure = "tls"         // the TLS handshake failed
	Timeout     Failure = "timeout"     // the request's time limit passed
	HTTP4xx     Failure = "http_4xx"    // any 4xx but 429; also 3xx and 1xx, which an API never answers with
	HTTP429     Failure = "http_429"    //
	HTTP5xx     Failure = "http_5xx"    //
	Reset       Failure = "reset"       // the connection broke within the response, or ended before its head
	Truncated   Failure = "truncated"   // ended in good order, but within the body or with neither finish_reason nor [DONE]
	ErrorEvent  Failure = "error_event" // an error inside a 200 response, or a finish reason that means failure
	Malformed   Failure = "malformed"   // not HTTP, not SSE, not JSON, or nothing that the API defines
	Empty       Failure = "empty"       // ended normally without one output token
	Short       Failure = "short"       // fewer output tokens than were forced
	Aborted     Failure = "aborted"     // given up on purpose
	Interrupted Failure = "interrupted" // the run ended first
)

// TokenSource says where a request's output token count came from.
type TokenSource string

// The sources, the most trusted first.
const (
	FromUsage           TokenSource = "usage"            // the final usage object
	FromContinuousUsage TokenSource = "continuous_usage" // the last usage seen in a chunk that was not the final one
	FromChunks          TokenSource = "chunks"           // one token an output chunk, no usage was sent
)

// Arrival is one output chunk.
type Arrival struct {
	AtNs int64 // when the chunk's last byte had arrived; the latest possible time of that where WidthNs is above 0
	// How much earlier it may have arrived: the chunk was not the last thing in its receive, of which only the last byte's
	// arrival is known. 0 = AtNs is exact.
	WidthNs int64
	// Output tokens it carried by continuous usage, with those of the chunks without text before it (after the last
	// output chunk they are added to that one); 0 where the usage did not grow. 1 without continuous usage.
	Tokens int32
	// Index of its choice, below MaxChoices; of an event with chunks of several choices the last one's.
	Choice int32
}

// Options say how to read one response.
type Options struct {
	API                  API
	ExpectedOutputTokens int    // forced length; fewer is failure "short"; 0 = not forced
	InputTokensPointer   string // JSON pointers (RFC 6901), API JSON only; "" = none
	OutputTokensPointer  string
	Wire                 *Wire  // API Custom only, which needs it
	KeepHeader           string // name of a header whose value Result.Header is; "" = none
	KeepText             bool   // keep the output text in Result.Text, and the tool calls in Result.ToolCalls
}

// Result is what one response came to. Times are those the caller gave with the bytes, 0 = never happened.
type Result struct {
	Failure Failure
	Message string // for a failure: one line of at most 300 bytes, the server's own words where it gave any
	Status  int    // HTTP status, 0 before the status line was read
	Proto   string // "HTTP/1.1"

	FirstByteNs      int64 // first byte of the response, also of an interim one (1xx)
	FirstOutputNs    int64 // first output chunk, reasoning or not; for a non-streamed reply the last byte
	FirstNonReasonNs int64 // first output chunk that is not reasoning (content, text or tool call); so for a reply
	LastOutputNs     int64 // last output chunk; for a non-streamed reply the last byte
	EndNs            int64 // the byte that completed the response; for a reset or truncated one, when that was known

	Arrivals  []Arrival // the output chunks in order; valid until the parser is reset; empty for a non-streamed reply
	Coalesced int       // output chunks that arrived in the same receive as the output chunk of their choice before them
	Events    int       // events, or lines of JSON, with data of any kind; [DONE] included, comments not counted

	InputTokens     int
	CachedTokens    int  // usage.prompt_tokens_details.cached_tokens
	CachedKnown     bool // the usage has it, 0 included
	ReasoningTokens int  // usage.completion_tokens_details.reasoning_tokens
	OutputTokens    int
	HiddenTokens    int // of OutputTokens: reasoning that the usage names and the response did not show
	TokenSource     TokenSource
	TokenMismatch   bool // final and continuous usage differ, chunks of text outnumber the tokens of the usage, or its counts contradict each other
	FinishReason    string
	Streamed        bool // the response was an event stream, or JSON a line, by its bytes and not by its header alone
	KeepAlive       bool // the connection may carry another request
	RetryAfter      string
	Header          string     // the value of Options.KeepHeader, "" where the response has none
	Text            string     // of the first choice, without reasoning, refusal, tool calls and speech
	ToolCalls       []ToolCall // of all choices; kept like Text
	BodyBytes       int64      // body bytes without chunk sizes
}

// ShownTokens is the number of output tokens that arrived: what times between tokens are shared among.
func (r *Result) ShownTokens() int { return r.OutputTokens - r.HiddenTokens }
