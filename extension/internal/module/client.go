package module

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/lib"

	"github.com/tokenclock/tokenclock/extension/internal/access"
	"github.com/tokenclock/tokenclock/extension/internal/auth"
	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/shape"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
	"github.com/tokenclock/tokenclock/extension/internal/version"
	"github.com/tokenclock/tokenclock/extension/internal/vunet"
)

// clientOptions is ClientOptions of index.d.ts.
type clientOptions struct {
	URL                 string            `js:"url"`
	API                 string            `js:"api"`
	Method              string            `js:"method"`
	Headers             map[string]string `js:"headers"`
	TimeoutMs           float64           `js:"timeoutMs"`
	Stream              *bool             `js:"stream"`
	HTTP2               bool              `js:"http2"`
	InputTokensPointer  string            `js:"inputTokensPointer"`
	OutputTokensPointer string            `js:"outputTokensPointer"`
	Wire                *wireOption       `js:"wire"`
	KeyOrigins          []string          `js:"keyOrigins"` // nil = not given
}

// wireOption is the part of WireDescription of index.d.ts that a response is read by.
type wireOption struct {
	Name     string `js:"name"`
	Response any    `js:"response"`
}

// requestSpec is RequestSpec of index.d.ts.
type requestSpec struct {
	Body         any // nil, a string or a sobek.ArrayBuffer
	URL          string
	Method       string
	Headers      map[string]string
	OutputTokens int
	InputTokens  int
	// -1 = not known
	TemplateTokens int
	KeepText       bool
	Session        string
	AbortAfterMs   float64
	AbortTokens    int
	KeepHeader     string
	Tags           []records.Tag // sorted by name
}

// ownTags are those that tokenclock sets, and whose values say what was measured.
var ownTags = []string{"level", "phase", "failure"}

// defaultTimeoutMs is long: a queue at a saturated server is what is measured, not an error.
const (
	defaultTimeoutMs = 600_000
	leastTimeoutMs   = 0.001 // of any request; a month is as good as none
	longestTimeoutMs = 30 * 24 * 3_600_000.0
)

// vuClient is Client of index.d.ts: one per VU and endpoint.
type vuClient struct {
	i    *instance
	o    clientOptions
	api  stream.API
	wire *stream.Wire // of the API custom
	c    *client.Client
	ctx  context.Context // of the VU's present iteration

	headers *access.Headers

	credentials auth.Credentials // of the run, where a header stands for them

	streamed bool   // event streams are asked for
	shownURL string // in tags
}

// newClient is `new Client(options)`. It only checks: connections need a VU that runs.
func (i *instance) newClient(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	c := &vuClient{i: i}
	if err := decode(rt, call.Argument(0), &c.o); err != nil {
		i.throw(fmt.Errorf("new Client: %w", err))
	}
	var err error
	if c.api, err = stream.ParseAPI(c.o.API); err != nil {
		i.throw(fmt.Errorf("new Client: %w", err))
	}
	if err := c.describe(); err != nil {
		i.refuse("tokenclock: " + err.Error()) // the user's file
	}
	if c.o.TimeoutMs == 0 {
		c.o.TimeoutMs = defaultTimeoutMs
	}
	if !(c.o.TimeoutMs >= leastTimeoutMs && c.o.TimeoutMs <= longestTimeoutMs) {
		i.throw(fmt.Errorf("new Client: timeoutMs is %v; it must be a number from %v to %v", c.o.TimeoutMs, leastTimeoutMs, longestTimeoutMs))
	}
	if c.headers, err = access.ParseHeaders(c.o.Headers); err != nil {
		i.refuse("tokenclock: new Client: " + err.Error())
		return c.object(rt)
	}
	if c.credentials, err = i.root.credentialsFor(c.headers); err != nil {
		i.refuse("tokenclock: new Client: " + err.Error())
		return c.object(rt)
	}
	engine := c.engineOptions(nil)
	if _, err := client.New(engine); err != nil {
		i.refuse("tokenclock: new Client: " + err.Error()) // an address or a header of the settings
	}
	c.streamed = engine.Streamed
	c.shownURL = client.Redact(c.o.URL)
	return c.object(rt)
}

// describe reads the description of the wire; the VUs share it.
func (c *vuClient) describe() error {
	o := c.o.Wire
	if o == nil || c.api != stream.Custom {
		switch {
		case o != nil:
			return fmt.Errorf("new Client: wire describes a response, but api is %q; set api to %q", c.api, stream.Custom)
		case c.api == stream.Custom:
			return fmt.Errorf("new Client: api %q needs wire, the description of the response", c.api)
		}
		return nil
	}
	text, err := json.Marshal(o.Response)
	if err != nil {
		return fmt.Errorf("new Client: wire: %w", err)
	}
	name := o.Name
	if name == "" {
		name = "of the script"
	}
	c.wire, err = oncePerProcess(c.i.root, "wire", name+"\x00"+string(text), func() (*stream.Wire, error) { return stream.ParseWire(name, text) })
	return err
}

// object is what JavaScript sees of a client.
func (c *vuClient) object(rt *sobek.Runtime) *sobek.Object {
	return c.i.methods(map[string]func(call sobek.FunctionCall) sobek.Value{
		"request": func(call sobek.FunctionCall) sobek.Value {
			return rt.ToValue(c.Request(call.Argument(0), c.slot(call.Argument(1))))
		},
		"batch": func(call sobek.FunctionCall) sobek.Value {
			var specs []sobek.Value
			if err := rt.ExportTo(call.Argument(0), &specs); err != nil {
				c.i.throw(fmt.Errorf("batch: %w", err))
			}
			stagger := call.Argument(2)
			staggerMs := 0.0
			if !sobek.IsUndefined(stagger) {
				staggerMs = stagger.ToFloat()
			}
			return rt.ToValue(c.Batch(specs, c.slot(call.Argument(1)), staggerMs))
		},
		"start": func(call sobek.FunctionCall) sobek.Value {
			return rt.ToValue(c.Start(call.Argument(0), c.slot(call.Argument(1))))
		},
	})
}

// slot reads the optional argument of that name.
func (c *vuClient) slot(v sobek.Value) *slot {
	if sobek.IsUndefined(v) || sobek.IsNull(v) {
		return nil
	}
	s, ok := v.Export().(*slot)
	if !ok {
		c.i.throw(errors.New("slot is not one that a load shape gave"))
	}
	return s
}

func (c *vuClient) engineOptions(state *lib.State) client.Options {
	o := client.Options{
		URL: c.o.URL, Method: c.o.Method, UserAgent: version.UserAgent, TimeoutNs: int64(c.o.TimeoutMs * 1e6), HTTP2: c.o.HTTP2,
		Stream: stream.Options{API: c.api, InputTokensPointer: c.o.InputTokensPointer, OutputTokensPointer: c.o.OutputTokensPointer, Wire: c.wire},
		Proxy:  vunet.Proxy(),
	}
	o.Streamed = c.api != stream.Embeddings && c.api != stream.JSON && (c.wire == nil || c.wire.Streamed())
	if c.o.Stream != nil {
		o.Streamed = *c.o.Stream
	}
	o.Header = headerFields(c.headers.Static)
	o.Credentials, o.Keyed = c.credentials, c.headers.Keyed
	o.Bound, o.Origins = c.credentials != nil || c.o.KeyOrigins != nil, c.o.KeyOrigins
	if state == nil {
		return o
	}
	if ua := state.Options.UserAgent; ua.Valid && ua.String != "" {
		o.UserAgent = ua.String
	}
	o.NoReuse = state.Options.NoConnectionReuse.Bool
	o.TLS = c.i.root.access.Load().Secure(state.TLSConfig)
	o.Dial = vunet.Dial(state)
	return o
}

// open returns the engine's client for the VU that runs now.
func (c *vuClient) open() (*client.Client, *lib.State, context.Context) {
	state, ctx := c.i.vu.State(), c.i.vu.Context()
	if state == nil {
		c.i.throw(common.NewInitContextError("requests cannot be sent in the init context"))
	}
	if c.c == nil {
		engine, err := client.New(c.engineOptions(state))
		if err != nil {
			c.i.throw(err)
		}
		c.c = engine
		c.i.root.current().AddClient()
	}
	if c.ctx != ctx {
		c.ctx = ctx
		if state.Options.NoVUConnectionReuse.Bool {
			context.AfterFunc(ctx, c.c.CloseIdle)
		}
	}
	c.i.root.current().Began()
	settleHeap()
	return c.c, state, ctx
}

// request makes what a spec describes; k is its place among those of one slot.
func (c *vuClient) request(spec *requestSpec, s *slot, k int) (*client.Request, error) {
	r := &client.Request{
		Method: spec.Method, URL: spec.URL, ID: c.i.root.current().NextID(), ExpectedOutputTokens: spec.OutputTokens,
		KeepText: spec.KeepText, KeepHeader: spec.KeepHeader, AbortAfterNs: int64(spec.AbortAfterMs * 1e6), AbortAfterTokens: spec.AbortTokens,
	}
	values := access.Values{
		ID: r.ID, Session: spec.Session, Level: s.Level, Index: s.Index + k, Serial: s.Serial + k, VU: c.vu(),
	}
	if len(spec.Headers) > 0 {
		own, err := access.ParseHeaders(spec.Headers)
		if err != nil {
			return nil, err
		}
		if own.Authorized {
			return nil, errors.New("request: a header of one request holds {{key}} or {{signature}}; these are for the headers of the client")
		}
		r.Header = headerFields(own.All(values))
	}
	for _, f := range c.headers.Fill(values) {
		if _, own := spec.Headers[f.Name]; !own {
			r.Header = append(r.Header, client.Field(f))
		}
	}
	if c.i.root.access.Load().Trace() {
		var traceparent string
		r.TraceID, traceparent = access.NewTrace()
		r.Header = append(r.Header, client.Field{Name: "traceparent", Value: traceparent})
	}
	switch body := spec.Body.(type) {
	case nil:
	case string:
		r.Body = []byte(body)
	case sobek.ArrayBuffer:
		r.Body = body.Bytes()
	default:
		return nil, fmt.Errorf("body is a %T; it must be a string or an ArrayBuffer", body)
	}
	return r, c.c.Check(r) // the script's fault must not count as the server's
}

// vu is the number of the VU that runs now.
func (c *vuClient) vu() uint64 {
	if state := c.i.vu.State(); state != nil {
		return state.VUID
	}
	return 0
}

// result is Result of index.d.ts.
type result struct {
	Outcome      string     `js:"outcome"`
	Failure      string     `js:"failure"`
	Message      string     `js:"message"`
	Status       int        `js:"status"`
	QueueDelayMs float64    `js:"queueDelayMs"`
	InputTokens  int        `js:"inputTokens"`
	OutputTokens int        `js:"outputTokens"`
	RetryAfter   string     `js:"retryAfter"`
	Text         string     `js:"text"`
	ToolCalls    []toolCall `js:"toolCalls"`
	Header       string     `js:"header"`
	TTFTMs       float64    `js:"ttftMs"`
	TTFOMs       float64    `js:"ttfoMs"`
	E2EMs        float64    `js:"e2eMs"`
	TPOTMs       float64    `js:"tpotMs"`
	MaxStallMs   float64    `js:"maxStallMs"`
	FinishReason string     `js:"finishReason"`
	TokenSource  string     `js:"tokenSource"`
}

// toolCall is ToolCall of index.d.ts.
type toolCall struct {
	ID        string `js:"id"`
	Name      string `js:"name"`
	Arguments string `js:"arguments"`
}

// Request is `client.request(spec, slot?)`.
func (c *vuClient) Request(specV sobek.Value, s *slot) *result {
	spec := c.spec(specV)
	engine, state, ctx := c.open()
	s = c.i.slotOrNone(s)
	r, err := c.request(spec, s, 0)
	if err != nil {
		c.i.throw(err)
	}
	c.i.root.current().AddSent()
	m := engine.Do(ctx, r)
	defer m.Release()
	return c.finish(state, s.of, spec, r, m)
}

// spec reads a RequestSpec field by field, which is several times faster than sobek's reflection.
func (c *vuClient) spec(v sobek.Value) *requestSpec {
	rt := c.i.vu.Runtime()
	o, ok := v.(*sobek.Object)
	if !ok {
		c.i.throw(errors.New("request: an object is missing"))
	}
	spec := &requestSpec{TemplateTokens: -1}
	given := func(name string) sobek.Value {
		if v := o.Get(name); v != nil && !sobek.IsUndefined(v) && !sobek.IsNull(v) {
			return v
		}
		return nil
	}
	if v := given("body"); v != nil {
		spec.Body = v.Export()
	}
	if v := given("url"); v != nil {
		spec.URL = v.String()
	}
	if v := given("method"); v != nil {
		spec.Method = v.String()
	}
	if v := given("headers"); v != nil {
		if err := rt.ExportTo(v, &spec.Headers); err != nil {
			c.i.throw(fmt.Errorf("request: headers: %w", err))
		}
	}
	if v := given("outputTokens"); v != nil {
		spec.OutputTokens = int(v.ToInteger())
	}
	if v := given("inputTokens"); v != nil {
		spec.InputTokens = int(v.ToInteger())
	}
	if v := given("templateTokens"); v != nil {
		spec.TemplateTokens = int(v.ToInteger())
	}
	if v := given("session"); v != nil {
		spec.Session = v.String()
	}
	if v := given("keepText"); v != nil {
		spec.KeepText = v.ToBoolean()
	}
	if v := given("abortAfterMs"); v != nil {
		spec.AbortAfterMs = v.ToFloat()
	}
	if v := given("abortAfterTokens"); v != nil {
		spec.AbortTokens = int(v.ToInteger())
	}
	if v := given("keepHeader"); v != nil {
		spec.KeepHeader = v.String()
	}
	if v := given("tags"); v != nil {
		spec.Tags = c.tags(v)
	}
	return spec
}

// tags reads tags as k6's own modules do: an object of texts, numbers and booleans.
func (c *vuClient) tags(v sobek.Value) []records.Tag {
	o, ok := v.(*sobek.Object)
	if !ok {
		c.i.throw(fmt.Errorf("request: tags is %s; it must be an object such as {turn: \"first\"}", v))
	}
	var tags []records.Tag
	for _, name := range o.Keys() {
		if slices.Contains(ownTags, name) {
			c.i.throw(fmt.Errorf("request: tags has %s, which tokenclock sets itself; use another name", name))
		}
		switch value := o.Get(name); value.Export().(type) {
		case string, int64, float64, bool:
			tags = append(tags, records.Tag{Name: name, Value: value.String()})
		default:
			c.i.throw(fmt.Errorf("request: tag %s is neither a text, a number nor a boolean", name))
		}
	}
	slices.SortFunc(tags, func(a, b records.Tag) int { return strings.Compare(a.Name, b.Name) })
	return tags
}

// batchResult is BatchResult of index.d.ts.
type batchResult struct {
	Results         []*result `js:"results"`
	TotalMs         float64   `js:"totalMs"`
	ReleaseSpreadMs float64   `js:"releaseSpreadMs"`
}

// Batch is `client.batch(specs, slot?, staggerMs?)`. Connections are opened and requests built first; then they are sent
// one right behind the other from one goroutine, which is the shortest release there is.
func (c *vuClient) Batch(specVs []sobek.Value, s *slot, staggerMs float64) *batchResult {
	engine, state, ctx := c.open()
	burst := s != nil && s.of.Pending()
	if s == nil {
		s = c.i.slotOrNone(nil)
	}
	specs := make([]*requestSpec, len(specVs))
	requests := make([]*client.Request, len(specVs))
	slots := make([]*shape.Slot, len(specVs))
	for k, v := range specVs {
		specs[k] = c.spec(v)
		var err error
		if requests[k], err = c.request(specs[k], s, k); err != nil {
			c.i.throw(err)
		}
	}
	members := s.of.Members
	if members != nil && len(members) != len(specVs) {
		c.i.throw(fmt.Errorf("batch: %d requests were given for a slot with %d members", len(specVs), len(members)))
	}
	s.of.Reserve(len(specVs) - 1)
	prepared := engine.PrepareAll(ctx, requests)
	client.CheckAll(ctx, prepared)
	type end struct {
		k int
		m *client.Measurement
	}
	ends := make(chan end, len(specVs))
	beganNs, err := s.of.Release(ctx)
	if err != nil {
		c.i.throw(err)
	}
	if members == nil || len(members) > 0 {
		s.of.Begin(beganNs)
	}
	for k := range prepared {
		number := k // in the batch
		if members != nil {
			number = members[k]
		}
		dueNs := beganNs + int64(float64(number)*staggerMs*1e6)
		if burst {
			c.i.root.current().Tally().Scheduled(dueNs)
		}
		clock.WaitUntil(ctx, dueNs)
		slots[k] = s.of.Twin(number, dueNs)
		c.i.root.current().AddSent()
		prepared[k].Send(ctx, func(m *client.Measurement) { ends <- end{k, m} })
	}
	out := &batchResult{Results: make([]*result, len(specVs))}
	first, last, lastEnd := int64(0), int64(0), int64(0)
	for range prepared {
		e := <-ends
		if at := e.m.SentNs; at > 0 {
			if first == 0 || at < first {
				first = at
			}
			last = max(last, at)
		}
		lastEnd = max(lastEnd, e.m.EndNs)
		out.Results[e.k] = c.finish(state, slots[e.k], specs[e.k], requests[e.k], e.m)
		e.m.Release()
	}
	if first > 0 {
		out.TotalMs, out.ReleaseSpreadMs = float64(lastEnd-first)/1e6, float64(last-first)/1e6
	}
	return out
}

// Start is `client.start(spec, slot?)`: a promise of the result.
func (c *vuClient) Start(specV sobek.Value, s *slot) *sobek.Promise {
	rt := c.i.vu.Runtime()
	promise, resolve, _ := rt.NewPromise()
	spec := c.spec(specV)
	engine, state, ctx := c.open()
	s = c.i.slotOrNone(s)
	r, err := c.request(spec, s, 0)
	if err != nil {
		c.i.throw(err)
	}
	spec.Body = nil // the request has its own copy
	if s.carried {
		s.promise = promise
	}
	enqueue := c.i.vu.RegisterCallback()
	c.i.root.current().AddSent()
	engine.Start(ctx, r, func(m *client.Measurement) {
		enqueue(func() error {
			value := c.finish(state, s.of, spec, r, m)
			if s.carried {
				c.i.emitIteration(state, m)
			}
			m.Release()
			if err := resolve(value); err != nil {
				return err
			}
			if s.then == nil {
				return nil
			}
			then := s.then
			s.then = nil
			return then()
		})
	})
	return promise
}

// finish folds one measurement into the run, emits its samples and record, and returns what JavaScript sees.
func (c *vuClient) finish(state *lib.State, s *shape.Slot, spec *requestSpec, r *client.Request, m *client.Measurement) *result {
	if (m.TokenSource == "" || m.TokenSource == stream.FromChunks) && m.InputTokens == 0 && spec.InputTokens > 0 {
		m.InputTokens = spec.InputTokens
	}
	run := c.i.root.current()
	o := &tally.Observation{
		Level: s.Level, Phase: s.Phase, Index: s.Index, ScheduledNs: s.ScheduledNs(), StartedNs: m.StartedNs, SentNs: m.SentNs,
		SentUncertaintyNs: m.SentUncertaintyNs, SentKernel: m.SentKernel, RingReceives: m.RingReceives, KernelReceives: m.KernelReceives, UserReceives: m.UserReceives,
		Retries: m.Retries, SetupNs: m.SetupNs, Streamed: m.Streamed, TemplateTokens: spec.TemplateTokens, Result: m.Result,
	}
	o.Session, o.Tool = s.Session()
	o.Turn = s.Turn
	if o.TemplateTokens < 0 {
		// What the server counts beside the workload's own tokens is its template, as far as anybody knows.
		o.TemplateTokens = 0
		if spec.InputTokens > 0 {
			o.TemplateTokens = max(m.InputTokens-spec.InputTokens, 0)
		}
	}
	if o.ScheduledNs == 0 {
		o.ScheduledNs = m.StartedNs
	}
	s.Ended(m.EndNs, m.Failure)
	if errno := m.OwnLimit(); errno != 0 {
		run.HitOwnLimit(errno)
	}
	run.KeyRetried(m.KeyRetries)
	if m.Status == http.StatusUnauthorized {
		run.WarnRefused(m.Status)
	}
	if c.streamed && !m.Streamed && m.Failure == stream.None {
		run.WarnWhole()
	}
	f, good := run.Add(o)
	c.i.emit(state, c, o, m, f, good, r, spec.Tags)
	return toResult(o, f)
}

func toResult(o *tally.Observation, f tally.Figures) *result {
	out := &result{
		Outcome: "completed", Status: o.Status, InputTokens: o.InputTokens, OutputTokens: o.OutputTokens, RetryAfter: o.RetryAfter, Text: o.Text,
		ToolCalls: []toolCall{}, Header: o.Header,
	}
	for _, call := range o.ToolCalls {
		out.ToolCalls = append(out.ToolCalls, toolCall(call))
	}
	// 0 where the request has no such latency; below 0 it is an error of a clock, and shown as it is.
	ms := func(ns int64) float64 {
		if ns == tally.Undefined {
			return 0
		}
		return float64(ns) / 1e6
	}
	out.QueueDelayMs = ms(f.QueueDelay)
	if o.Failure != stream.None {
		out.Outcome, out.Failure, out.Message = "failed", string(o.Failure), o.Message
		return out
	}
	out.TTFTMs, out.TTFOMs, out.E2EMs, out.TPOTMs, out.MaxStallMs = ms(f.TTFT), ms(f.TTFO), ms(f.E2E), ms(f.TPOT), ms(f.MaxStall)
	out.FinishReason, out.TokenSource = o.FinishReason, string(o.TokenSource)
	return out
}
