// Package records writes one line a request, and the lines of its run, into the file of `--out records=FILE`.
package records

import (
	"encoding/json"
	"strconv"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
	"github.com/tokenclock/tokenclock/extension/internal/version"
)

// Run is the first line of the records.
type Run struct {
	Type        string            `json:"type"`
	Schema      int               `json:"schema"`
	Scenario    string            `json:"scenario"`
	StartUnixNs int64             `json:"startUnixNs"`
	Config      map[string]any    `json:"config"`
	SLOMs       SLOMs             `json:"sloMs"`
	Versions    version.Versions  `json:"versions"`
	Stamps      Stamps            `json:"stamps"`
	Reader      string            `json:"reader"`                // as in validity
	ReaderClass string            `json:"readerClass,omitempty"` // likewise
	Digests     map[string]string `json:"digests,omitempty"`     // sha256 in hex of the files that settings name, by setting
	Profile     any               `json:"profile,omitempty"`     // the threshold profile: its name, or the whole of the user's own
}

// SLOMs are the latency limits of goodput, in ms; 0 is none.
type SLOMs struct {
	TTFT float64 `js:"ttft" json:"ttft,omitempty"`
	TPOT float64 `js:"tpot" json:"tpot,omitempty"`
	E2E  float64 `js:"e2e" json:"e2e,omitempty"`
}

// Stamps is the source that a process takes arrival times from, and why it has no better one.
type Stamps struct {
	Source string `json:"source"`
	Why    string `json:"why,omitempty"`
}

// Level follows the last request of a level.
type Level struct {
	Type        string         `json:"type"`
	Name        string         `json:"name"`
	Concurrency int            `json:"concurrency,omitempty"`
	Rate        float64        `json:"rate,omitempty"`
	BatchSize   int            `json:"batchSize,omitempty"`
	Labels      map[string]any `json:"labels,omitempty"`
	OpenNs      int64          `json:"openNs"`
	CloseNs     int64          `json:"closeNs"`
	EndNs       int64          `json:"endNs"`
	ClockErrors int64          `json:"clockErrors,omitempty"`

	ITLHistograms map[tally.Phase]string `json:"itlHistograms,omitempty"`

	ClientMB [][]float64 `json:"clientMB,omitempty"` // of each client, one here, by part of the window; 0 = not known

	CacheHits    *float64 `json:"cacheHits,omitempty"` // the server's own counters, from the level's begin to its end
	CacheQueries *float64 `json:"cacheQueries,omitempty"`
}

// Session follows the last turn of a session.
type Session struct {
	Type    string               `json:"type"`
	ID      string               `json:"id"`
	Level   string               `json:"level"`
	Phase   tally.Phase          `json:"phase"`
	Outcome tally.SessionOutcome `json:"outcome"`
	Turns   int                  `json:"turns,omitempty"`
	NotSent int                  `json:"notSent,omitempty"`
	StartNs int64                `json:"startNs,omitempty"`
	EndNs   int64                `json:"endNs,omitempty"`
	WaitNs  int64                `json:"waitNs,omitempty"`
}

// End is the last line of a run that was not killed.
type End struct {
	Type     string    `json:"type"`
	EndNs    int64     `json:"endNs"`
	Ended    string    `json:"ended"`            // complete, cut or interrupted
	Unsent   string    `json:"unsent,omitempty"` // what of the load was not sent, in words
	Schedule *Schedule `json:"schedule,omitempty"`
	Validity any       `json:"validity"` // run.Validity, which this package does not know
}

// Schedule is what an open load was to send, however much of it was sent: by all instances that divide it.
type Schedule struct {
	Digest   string `json:"digest"` // sha256 of the times, in hex
	Requests int    `json:"requests"`
}

// Tag is a tag of the script's own.
type Tag struct{ Name, Value string }

// AppendRequest appends a request's line without its newline. Zero and empty fields are left out.
func AppendRequest(b []byte, scenario string, vu uint64, iteration int64, o *tally.Observation, m *client.Measurement, tags ...Tag) []byte {
	if cap(b) == 0 {
		b = make([]byte, 0, 600+8*len(o.Arrivals))
	}
	str := func(name, value string) {
		if value != "" {
			b = append(b, ',', '"')
			b = append(b, name...)
			b = append(b, '"', ':')
			b = appendString(b, value)
		}
	}
	num := func(name string, value int64) {
		if value != 0 {
			b = append(b, ',', '"')
			b = append(b, name...)
			b = append(b, '"', ':')
			b = strconv.AppendInt(b, value, 10)
		}
	}
	flag := func(name string, value bool) {
		if value {
			b = append(b, ',', '"')
			b = append(b, name...)
			b = append(b, `":true`...)
		}
	}
	b = append(b, `{"type":"request"`...)
	str("id", m.ID)
	str("traceId", m.TraceID)
	str("scenario", scenario)
	str("level", o.Level)
	str("phase", string(o.Phase))
	b = append(b, `,"index":`...)
	b = strconv.AppendInt(b, int64(o.Index), 10)
	str("session", o.Session)
	num("turn", int64(o.Turn))
	flag("tool", o.Tool)
	if len(tags) > 0 {
		b = append(b, `,"tags":`...)
		begin := byte('{')
		for _, each := range tags {
			b = append(b, begin)
			b = appendString(b, each.Name)
			b = append(b, ':')
			b = appendString(b, each.Value)
			begin = ','
		}
		b = append(b, '}')
	}
	num("vu", int64(vu))
	b = append(b, `,"iter":`...)
	b = strconv.AppendInt(b, iteration, 10)
	num("scheduledNs", o.ScheduledNs)
	num("startedNs", o.StartedNs)
	num("sentNs", o.SentNs)
	num("sentUncertaintyNs", o.SentUncertaintyNs)
	num("firstByteNs", o.FirstByteNs)
	num("firstOutputNs", o.FirstOutputNs)
	num("firstNonReasonNs", o.FirstNonReasonNs)
	num("lastOutputNs", o.LastOutputNs)
	num("endNs", o.EndNs)
	if len(o.Arrivals) > 0 {
		b = append(b, `,"arrivals":[`...)
		last := o.SentNs
		for k, a := range o.Arrivals {
			if k > 0 {
				b = append(b, ',')
			}
			b = append(b, '[')
			b = strconv.AppendInt(b, a.AtNs-last, 10)
			b = append(b, ',')
			b = strconv.AppendInt(b, int64(a.Tokens), 10)
			if a.Choice != 0 || a.WidthNs > 0 {
				b = append(b, ',')
				b = strconv.AppendInt(b, int64(a.Choice), 10)
			}
			if a.WidthNs > 0 {
				b = append(b, ',')
				b = strconv.AppendInt(b, a.WidthNs, 10)
			}
			b = append(b, ']')
			last = a.AtNs
		}
		b = append(b, ']')
	}
	num("status", int64(o.Status))
	if o.Failure == stream.None {
		str("outcome", "completed")
	} else {
		str("outcome", "failed")
		str("failure", string(o.Failure))
		str("message", o.Message)
	}
	num("inputTokens", int64(o.InputTokens))
	num("outputTokens", int64(o.OutputTokens))
	if o.CachedKnown { // 0 is a figure, too
		b = append(b, `,"cachedTokens":`...)
		b = strconv.AppendInt(b, int64(o.CachedTokens), 10)
	}
	num("reasoningTokens", int64(o.ReasoningTokens))
	num("hiddenTokens", int64(o.HiddenTokens))
	str("tokenSource", string(o.TokenSource))
	flag("tokenMismatch", o.TokenMismatch)
	str("finishReason", o.FinishReason)
	flag("streamed", o.Streamed)
	flag("reused", m.Reused)
	num("retries", int64(m.Retries))
	num("keyRetries", int64(m.KeyRetries))
	switch {
	case m.UserReceives > 0: // the worst one decides
		str("stamp", "user")
	case m.KernelReceives > m.RingReceives:
		str("stamp", "socket")
	case m.RingReceives > 0:
		str("stamp", "ring")
	}
	flag("sentKernel", m.SentKernel)
	num("coalesced", int64(o.Coalesced))
	num("bodyBytes", o.BodyBytes)
	num("connectNs", m.ConnectNs)
	num("tlsNs", m.TLSNs)
	return append(b, '}')
}

// appendString appends s as a JSON string; the common case needs no escape.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, _ := json.Marshal(s)
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
