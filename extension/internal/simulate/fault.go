package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// What Config.DieHow can say.
const (
	DieProcess  = "process"  // the whole process ends at once
	DieListener = "listener" // every connection is reset and new ones are refused
	DieEngine   = "engine"   // as vLLM dies: open streams get an error event and [DONE], /health is 503, then DieListener
)

// Fault is what goes wrong with a generation request, or how its response is shaped. The server has a list of them, and
// a request may bring its own in the body's field "simulate" or the header X-Simulate (JSON; both are added to the list).
// Token counts are output tokens sent before; the first fault that ends a response wins.
type Fault struct {
	Share *float64 `json:"share,omitempty"` // of the requests it befalls, drawn with the seed; default 1

	Refuse bool `json:"refuse,omitempty"` // reset the connection instead of an answer; close it in order with cutHow "fin"
	Status int  `json:"status,omitempty"` // answer with this status

	Stall       *int    `json:"stall,omitempty"` // wait before the token with this number, counted from 0
	StallMs     float64 `json:"stallMs,omitempty"`
	CatchUp     bool    `json:"catchUp,omitempty"`  // the stall moves no later token: what fell due meanwhile follows at once
	Burst       int     `json:"burst,omitempty"`    // so many tokens come together, an event and a write each, at the same mean rate
	OneWrite    bool    `json:"oneWrite,omitempty"` // the events that are due at once share a write
	Cut         *int    `json:"cut,omitempty"`      // break off after so many tokens
	CutHow      string  `json:"cutHow,omitempty"`   // "rst" (default), "fin", or "end": an orderly end of the response without its last events
	Error       *int    `json:"error,omitempty"`    // error event after so many tokens
	ErrorNoDone bool    `json:"errorNoDone,omitempty"`
	Malformed   *int    `json:"malformed,omitempty"` // an event that is no JSON after so many tokens
	Huge        *int    `json:"huge,omitempty"`      // the token with this number is an event of HugeBytes
	HugeBytes   int     `json:"hugeBytes,omitempty"` // default 4 MiB

	Wide           bool   `json:"wide,omitempty"`           // text outside ASCII
	Split          string `json:"split,omitempty"`          // cut UTF-8 sequences in two "write"s, "chunk"s or "event"s; implies Wide
	LineEnd        string `json:"lineEnd,omitempty"`        // "lf" (default), "crlf", "cr"
	Comments       int    `json:"comments,omitempty"`       // a comment line after every so many events
	EmptyEvents    int    `json:"emptyEvents,omitempty"`    // an event with empty text before every so many token events
	TokensPerChunk int    `json:"tokensPerChunk,omitempty"` // tokens that share an event
	EventsPerChunk int    `json:"eventsPerChunk,omitempty"` // events that share an HTTP chunk
	RoleWithFirst  bool   `json:"roleWithFirst,omitempty"`  // the role event shares the HTTP chunk of the first token
	ContentLength  bool   `json:"contentLength,omitempty"`  // stream without chunked framing: the response's end ends the connection
	CloseAfter     bool   `json:"closeAfter,omitempty"`     // promise keep-alive, then close, as llama-server does

	Reasoning      *int   `json:"reasoning,omitempty"` // these override the server's settings
	ReasoningField string `json:"reasoningField,omitempty"`
	ToolCallTokens *int   `json:"toolCallTokens,omitempty"`
	// With tools in the request, answers call one until so many results of tools stand behind the user's last message.
	ToolRounds   int      `json:"toolRounds,omitempty"`
	TTFTMs       *float64 `json:"ttftMs,omitempty"` // only where tokens come on a schedule
	ITLMs        *float64 `json:"itlMs,omitempty"`
	OutputTokens int      `json:"outputTokens,omitempty"`
}

// ParseFault reads "cut=20,share=0.1" (the JSON names of Fault's fields) or a JSON object.
func ParseFault(text string) (Fault, error) {
	var f Fault
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		fields := map[string]any{}
		for part := range strings.SplitSeq(text, ",") {
			name, value, found := strings.Cut(strings.TrimSpace(part), "=")
			if number, err := strconv.ParseFloat(value, 64); !found {
				fields[name] = true
			} else if err == nil {
				fields[name] = number
			} else if value == "true" || value == "false" {
				fields[name] = value == "true"
			} else {
				fields[name] = value
			}
		}
		b, err := json.Marshal(fields)
		if err != nil {
			return f, err
		}
		text = string(b)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return f, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, f.validate()
}

func (f *Fault) validate() error {
	switch {
	case f.Share != nil && (*f.Share < 0 || *f.Share > 1):
		return errors.New("fault: share must lie between 0 and 1")
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return errors.New("fault: status must lie between 200 and 599")
	case f.CutHow != "" && f.CutHow != "rst" && f.CutHow != "fin" && f.CutHow != "end":
		return errors.New(`fault: cutHow must be "rst", "fin" or "end"`)
	case f.Split != "" && f.Split != "write" && f.Split != "chunk" && f.Split != "event":
		return errors.New(`fault: split must be "write", "chunk" or "event"`)
	case f.LineEnd != "" && f.LineEnd != "lf" && f.LineEnd != "crlf" && f.LineEnd != "cr":
		return errors.New(`fault: lineEnd must be "lf", "crlf" or "cr"`)
	case f.ReasoningField != "" && f.ReasoningField != "reasoning_content" && f.ReasoningField != "reasoning":
		return errors.New(`fault: reasoningField must be "reasoning_content" or "reasoning"`)
	case f.Burst < 0:
		return errors.New("fault: burst must be a number of tokens")
	case f.HugeBytes < 0 || f.HugeBytes > 1<<30:
		return errors.New("fault: hugeBytes must be at most 1 GiB")
	}
	return nil
}

// add merges g into f: what f says already stays.
func (f *Fault) add(g *Fault) {
	f.Refuse = f.Refuse || g.Refuse
	setDefault(&f.Status, g.Status)
	if f.Stall == nil {
		f.Stall, f.StallMs, f.CatchUp = g.Stall, g.StallMs, g.CatchUp
	}
	if f.Cut == nil {
		f.Cut, f.CutHow = g.Cut, g.CutHow
	}
	if f.Error == nil {
		f.Error, f.ErrorNoDone = g.Error, g.ErrorNoDone
	}
	setDefault(&f.Malformed, g.Malformed)
	if f.Huge == nil {
		f.Huge, f.HugeBytes = g.Huge, g.HugeBytes
	}
	setDefault(&f.Burst, g.Burst)
	f.OneWrite = f.OneWrite || g.OneWrite
	f.Wide = f.Wide || g.Wide
	setDefault(&f.Split, g.Split)
	setDefault(&f.LineEnd, g.LineEnd)
	setDefault(&f.Comments, g.Comments)
	setDefault(&f.EmptyEvents, g.EmptyEvents)
	setDefault(&f.TokensPerChunk, g.TokensPerChunk)
	setDefault(&f.EventsPerChunk, g.EventsPerChunk)
	f.RoleWithFirst = f.RoleWithFirst || g.RoleWithFirst
	f.ContentLength = f.ContentLength || g.ContentLength
	f.CloseAfter = f.CloseAfter || g.CloseAfter
	setDefault(&f.Reasoning, g.Reasoning)
	setDefault(&f.ReasoningField, g.ReasoningField)
	setDefault(&f.ToolCallTokens, g.ToolCallTokens)
	setDefault(&f.ToolRounds, g.ToolRounds)
	setDefault(&f.TTFTMs, g.TTFTMs)
	setDefault(&f.ITLMs, g.ITLMs)
	setDefault(&f.OutputTokens, g.OutputTokens)
}

// draw decides which of the server's faults and the request's own befall the request with this number.
func (s *Server) draw(number uint64, own ...Fault) Fault {
	var f Fault
	for i := range own {
		if own[i].befalls(s.config.Seed, number, i+len(s.config.Faults)) {
			f.add(&own[i])
		}
	}
	for i := range s.config.Faults {
		if s.config.Faults[i].befalls(s.config.Seed, number, i) {
			f.add(&s.config.Faults[i])
		}
	}
	if f.Split != "" {
		f.Wide = true
	}
	f.TokensPerChunk, f.Burst = max(1, f.TokensPerChunk), max(1, f.Burst)
	f.EventsPerChunk = max(1, f.EventsPerChunk)
	if f.Huge != nil && f.HugeBytes == 0 {
		f.HugeBytes = 4 << 20
	}
	return f
}

// befalls reports whether a fault befalls a request. It draws once for each, the same at every run with the same seed and order.
func (f *Fault) befalls(seed, number uint64, index int) bool {
	if f.Share == nil || *f.Share >= 1 {
		return true
	}
	return float64(mix(seed^uint64(index)<<48, number)>>11)/(1<<53) < *f.Share
}

func (f *Fault) lineEnd() string {
	switch f.LineEnd {
	case "crlf":
		return "\r\n"
	case "cr":
		return "\r"
	}
	return "\n"
}

// die ends the server as the configuration says.
func (s *Server) die() {
	if s.dead {
		return
	}
	s.dead = true
	switch {
	case s.config.DieHow == DieEngine:
		for c := range s.conns {
			if a, ok := c.cancel.(*answer); ok {
				a.fail("EngineCore encountered an issue. See stack trace (above) for the root cause.", true)
			}
		}
		s.loop.after(engineDeathDelay, s.closeDown)
	case s.config.DieHow == DieProcess && s.config.OnDeath != nil:
		s.config.OnDeath()
	default:
		s.closeDown()
	}
}

// engineDeathDelay is how long a server whose engine died still answers with 500 and 503.
const engineDeathDelay = 500_000_000

func (s *Server) closeDown() {
	s.loop.poll.stopListening()
	for c := range s.conns {
		c.reset("died")
	}
}

// countDeath looks whether the server has done enough to die.
func (s *Server) countDeath() {
	if n := s.config.DieAfterRequests; n > 0 && s.received >= int64(n) {
		s.dieSoon()
	}
	if n := s.config.DieAfterTokens; n > 0 && s.truth.tokens >= int64(n) {
		s.dieSoon()
	}
}

// dieSoon lets the present call finish first, for it works on a connection that dying closes.
func (s *Server) dieSoon() {
	t := &timer{task: taskFunc(func() { s.die() })}
	s.loop.pacer.set(t, clock.Now())
}
