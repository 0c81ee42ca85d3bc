// Package simulate is a simulated LLM server: it speaks the HTTP APIs of real ones, sends tokens at times that a schedule
// or a simulated engine with continuous batching gives, misbehaves on request, and keeps the truth about what it sent
// and when, against which a load client can be judged.
//
// It shares a machine with the client that it judges, so it is built to be cheap and punctual: one goroutine, locked to
// a thread, waits for sockets and deadlines, and hands each token to the kernel with one system call.
package simulate

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// Server is a running simulated server.
type Server struct {
	// URL is "http://127.0.0.1:PORT" without a path, "https://..." with TLS, "unix:PATH" on a Unix socket.
	URL string

	config  Config
	loop    *loop
	conns   map[*conn]struct{}
	truth   *truth
	metrics *metrics
	pace    pace
	vocab   *vocabulary
	predict [2]*predictor
	embed   *embedder
	secure  *secureLayer
	keys    *issuer // nil = no key is asked for

	inFlight          int // generation requests being answered
	tokenizerInFlight int
	received          int64 // generation requests
	sequence          uint64
	dead              bool // the engine died: requests fail, health is 503

	scratch   []byte // of response heads and small bodies
	payload   []byte // of one event
	json      []byte // of one event's JSON
	frames    []byte // of what one write takes
	frameEnds []eventEnd
	dateS     int64
	dateB     []byte
	created   int64
	modelJSON []byte // the quoted name of the model
}

// Start runs a server until Close.
func Start(config Config) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: config, conns: map[*conn]struct{}{}, vocab: newVocabulary(), created: time.Now().Unix(),
		truth: newTruth(config.KeepRequests, config.KeepSends), metrics: newMetrics(),
	}
	s.modelJSON = strconv.AppendQuote(nil, config.Model)
	s.loop = &loop{tickNs: int64(config.Pacing.Tick), done: make(chan struct{})}
	if config.Pacing.Scheduled {
		s.pace = newSchedule(s)
	} else {
		s.pace = newEngine(s)
	}
	s.newPredictors()
	s.embed = newEmbedder(s)
	if config.ClientSecret != "" {
		s.keys = newIssuer(config)
	}
	if config.TLS {
		if s.secure, err = newSecureLayer(s); err != nil {
			return nil, err
		}
	}
	started := make(chan error)
	go func() {
		// The thread's timers are made sharp, so it is not given back to Go.
		runtime.LockOSThread()
		poll, err := newPoller(&s.config, s.loop, s.truth)
		if err != nil {
			started <- err
			return
		}
		s.loop.poll = poll
		accept := s.accept
		if s.secure != nil {
			accept = s.secure.accept
		}
		address, err := poll.listen(config.Listen, accept)
		if err != nil {
			poll.close()
			started <- err
			return
		}
		s.URL = s.urlOf(address)
		started <- nil
		s.loop.run()
		poll.close()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("simulated server: %w", err)
	}
	return s, nil
}

func (s *Server) urlOf(address string) string {
	switch {
	case strings.HasPrefix(s.config.Listen, "unix:"):
		return s.config.Listen
	case s.config.TLS:
		return "https://" + address
	}
	return "http://" + address
}

// Close drops every connection and returns when all that the server started has ended.
func (s *Server) Close() {
	s.loop.post(func() {
		s.whenSettled(func() {
			for c := range s.conns {
				c.reset("closed")
			}
			if s.secure != nil {
				for open := range s.secure.open {
					open.reset()
				}
			}
			s.loop.stop()
		})
	})
	<-s.loop.done
	if s.secure != nil {
		s.secure.close()
	}
}

// Truth returns what the server sent since its start or the last reset; also after Close.
func (s *Server) Truth() Report {
	var snap snapshot
	taken := make(chan struct{})
	s.loop.post(func() {
		s.whenSettled(func() {
			snap = s.snapshot()
			close(taken)
		})
	})
	select {
	case <-taken:
	case <-s.loop.done:
		snap = s.snapshot() // nobody else has it any more
	}
	return snap.report(true, "")
}

// settleLimit is how long a question for the truth waits for the kernel's times of what was sent before it. A slow reader's
// bytes leave later.
const settleLimit = 100 * time.Millisecond

// whenSettled calls f once the times of all sends so far are known, or after settleLimit.
func (s *Server) whenSettled(f func()) {
	askedNs := clock.Now()
	var look func()
	look = func() {
		s.loop.poll.settle()
		if nowNs := clock.Now(); s.truth.settled(askedNs, nowNs) || nowNs-askedNs > int64(settleLimit) {
			f()
			return
		}
		s.loop.after(time.Millisecond, look)
	}
	look()
}

func (s *Server) snapshot() snapshot {
	snap := s.truth.snapshot()
	var from source
	from, snap.source.Why, snap.source.Drops = s.loop.poll.source()
	snap.source.Sends = from.String()
	return snap
}

// Reset clears truth, metrics and prefix cache, as POST /reset does.
func (s *Server) Reset() { s.loop.call(s.reset) }

func (s *Server) reset() {
	s.truth.reset()
	s.metrics = newMetrics()
	if e, ok := s.pace.(*engine); ok {
		s.metrics.base = e.counters()
	}
	s.pace.resetCache()
}

// date returns the value of the Date header.
func (s *Server) date() []byte {
	now := clock.Wall(clock.Now())
	if second := now.Unix(); second != s.dateS {
		s.dateS = second
		s.dateB = now.UTC().AppendFormat(s.dateB[:0], "Mon, 02 Jan 2006 15:04:05 GMT")
	}
	return s.dateB
}

// The paths that are served.
const (
	pathChat             = "/v1/chat/completions"
	pathCompletions      = "/v1/completions"
	pathResponses        = "/v1/responses"
	pathMessages         = "/v1/messages"
	pathEmbeddings       = "/v1/embeddings"
	pathRerank           = "/v1/rerank"
	pathScore            = "/v1/score"
	pathModels           = "/v1/models"
	pathTokenize         = "/tokenize"
	pathTokenizer        = "/tokenizer"
	pathPredict          = "/predict"
	pathOptimizedPredict = "/optimized_predict"
)

// route hands a request to what answers its path.
func (s *Server) route(c *conn, r *request) {
	if s.keys != nil && !s.keys.admit(c, r) {
		return
	}
	switch r.path {
	case pathChat, pathCompletions, pathResponses, pathMessages:
		if s.allow(c, r, "POST") {
			s.generate(c, r)
		}
	case pathEmbeddings:
		if s.allow(c, r, "POST") {
			s.embed.serve(c, r)
		}
	case pathTokenizer:
		if s.allow(c, r, "GET", "POST") {
			s.serveTokenizer(c, r)
		}
	case pathPredict:
		s.predict[0].serve(c, r)
	case pathOptimizedPredict:
		s.predict[1].serve(c, r)
	case pathTokenize:
		if s.allow(c, r, "POST") {
			s.serveTokenize(c, r)
		}
	case "/reset":
		if s.allow(c, r, "POST") {
			s.reset()
			c.reply(200, applicationJSON, []byte("{}"))
		}
	case "/reset_prefix_cache":
		switch {
		case !s.config.DevMode:
			c.replyJSON(404, map[string]any{"detail": "Not Found"})
		case s.allow(c, r, "POST"):
			s.pace.resetCache()
			c.reply(200, applicationJSON, nil)
		}
	case pathRerank, pathScore:
		if s.allow(c, r, "POST") {
			s.embed.serve(c, r)
		}
	default:
		switch {
		case isDialect(r.path):
			if s.allow(c, r, "POST") {
				s.generate(c, r)
			}
		case s.allow(c, r, "GET", "HEAD"):
			s.serveInfo(c, r)
		}
	}
}

// serveInfo answers what only asks.
func (s *Server) serveInfo(c *conn, r *request) {
	switch r.path {
	case pathModels, pathModels + "/" + s.config.Model:
		model := map[string]any{
			"id": s.config.Model, "object": "model", "created": s.created, "owned_by": "tokenclock",
			"root": s.config.Model, "parent": nil, "max_model_len": s.config.MaxModelLen,
		}
		if r.path == pathModels {
			c.replyJSON(200, map[string]any{"object": "list", "data": []any{model}})
		} else {
			c.replyJSON(200, model)
		}
	case "/api/tags": // Ollama's, TGI's and SGLang's ways to name the model
		c.replyJSON(200, map[string]any{"models": []any{map[string]any{"name": s.config.Model, "model": s.config.Model}}})
	case "/info":
		c.replyJSON(200, map[string]any{"model_id": s.config.Model, "max_total_tokens": s.config.MaxModelLen})
	case "/get_model_info":
		c.replyJSON(200, map[string]any{"model_path": s.config.Model, "is_generation": true})
	case "/health", "/ping":
		if s.dead {
			c.reply(503, textPlain, nil)
			return
		}
		c.reply(200, textPlain, nil)
	case "/version":
		c.replyJSON(200, map[string]any{"version": version})
	case "/load":
		c.replyJSON(200, map[string]any{"server_load": s.inFlight})
	case "/v1/info":
		c.replyJSON(200, map[string]any{"application": "tokenclock", "version": version, "vllm_version": version, "model_name": s.config.Model, "max_length": s.config.MaxModelLen, "truncation_side": "left"})
	case "/v1/launch_arguments":
		c.replyJSON(200, s.config.launchArguments())
	case "/metrics", "/metrics/":
		c.reply(200, "text/plain; version=0.0.4; charset=utf-8", s.metrics.text(s))
	case "/truth":
		s.serveTruth(c, r)
	default:
		c.replyJSON(404, map[string]any{"detail": "Not Found"})
	}
}

// version is what the server says where vLLM tells its version.
const version = "0.32.0+simulated"

// allow answers requests with another method.
func (s *Server) allow(c *conn, r *request, methods ...string) bool {
	for _, m := range methods {
		if m == r.method {
			return true
		}
	}
	c.replyJSON(405, map[string]any{"detail": "Method Not Allowed"})
	return false
}

// serveTruth makes the report off the loop, for it may be large and tokens must go on.
func (s *Server) serveTruth(c *conn, r *request) {
	values := r.values()
	turn := c.turn
	s.whenSettled(func() {
		if c.closed || c.turn != turn {
			return
		}
		snap := s.snapshot()
		s.elsewhere(c, func() []byte {
			b, err := json.Marshal(snap.report(values.Get("requests") != "0", values.Get("path")))
			if err != nil {
				return []byte("{}")
			}
			return b
		})
	})
}

// elsewhere has a JSON reply made by another goroutine and sends it when that is done.
func (s *Server) elsewhere(c *conn, make func() []byte) {
	turn := c.turn
	go func() {
		body := make()
		s.loop.post(func() {
			if !c.closed && c.turn == turn {
				c.reply(200, applicationJSON, body)
			}
		})
	}()
}

func (c *conn) replyJSON(status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = 500, []byte("{}")
	}
	c.reply(status, applicationJSON, body)
}

func statusText(status int) string {
	switch status {
	case 200:
		return "OK"
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 413:
		return "Content Too Large"
	case 429:
		return "Too Many Requests"
	case 500:
		return "Internal Server Error"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	}
	return "Status"
}
