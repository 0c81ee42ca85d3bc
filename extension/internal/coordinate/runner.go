package coordinate

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options are what a runner needs to reach its coordinator.
type Options struct {
	Address string // http://127.0.0.1:7431, https://coordinator:7431
	Token   string
	// Now is the run's clock in ns, StartUnixNs the wall clock at its 0.
	Now         func() int64
	StartUnixNs int64
	// Ended is called once where the run ends early for all, with the reason.
	Ended func(reason string)
	// Waiting is called once where Open waits for a coordinator that does not answer: with its address, why, and for how long.
	Waiting func(what string)
	// Patience is how long the coordinator is asked again before it is taken for lost; 0 = 20 s. Registering sets it to the
	// coordinator's --lost-after: runners and coordinator lose each other after the same time.
	Patience time.Duration
}

// Runner is one instance's end of the protocol.
type Runner struct {
	o        Options
	base     *url.URL
	http     *http.Client
	instance string
	reply    runReply
	part     int
	retrying func(err error) // called before a request is repeated; nil once the run is open

	mu      sync.Mutex
	clock   Clock
	pending []byte // records that the coordinator has not confirmed yet
	at      int64  // the offset of pending in all of the records
	ended   string // why the run ended early for all
	closing bool
	wake    chan struct{}
	sent    chan struct{} // closed when the loop that sends has ended
	left    error         // what kept it from sending everything
}

// Clock is the run's clock as the coordinator's clock sees it.
type Clock struct {
	AtNs          int64 // when it was measured, by the run's clock
	ZeroUnixNs    int64 // the coordinator's clock at 0 of the run's clock
	UncertaintyNs int64 // by how much that may be wrong
}

// ErrEnded says that the run has ended for all runners.
type ErrEnded struct{ Reason string }

func (e ErrEnded) Error() string { return "the run was ended: " + e.Reason }

// refused is a reply that says no; asking again would not help.
type refused struct {
	status int
	reason string
}

func (e refused) Error() string { return e.reason }

const (
	defaultPatience = 20 * time.Second
	openPatience    = 2 * time.Minute // the coordinator may start later than the runners
	silence         = time.Second     // how long a first reply may take before the user is told

	// gonePatience is how long connections may be refused: the host is there, and nothing listens on its port. A coordinator
	// that was started again leads another run, so waiting for it is of no use.
	gonePatience = 3 * time.Second
)

// Open asks the coordinator for the run. It waits for one that is not there yet.
func Open(ctx context.Context, o Options) (*Runner, error) {
	u, err := checkAddress(o.Address, o.Token)
	if err != nil {
		return nil, err
	}
	patience := o.Patience
	if patience == 0 {
		patience, o.Patience = defaultPatience, openPatience
	}
	// No proxy: the coordinator is one of the run's own hosts.
	transport := &http.Transport{MaxIdleConnsPerHost: 4, ForceAttemptHTTP2: false, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}
	if u.Scheme == "https" {
		if transport.TLSClientConfig, err = clientTLS(o.Token, u.Hostname()); err != nil {
			return nil, err
		}
	}
	r := &Runner{
		o: o, base: u, http: &http.Client{Transport: transport}, instance: randomHex(8), wake: make(chan struct{}, 1),
	}
	if err := r.open(ctx); err != nil {
		return nil, fmt.Errorf("COORDINATOR=%s: %w", u.Redacted(), err)
	}
	r.o.Patience = patience
	return r, nil
}

// open asks for the run. The first failure, or a reply that takes longer than `silence`, is passed on to Waiting: the wait may
// last for minutes, and a wrong address looks the same as a coordinator that starts late.
func (r *Runner) open(ctx context.Context) error {
	var once sync.Once
	r.retrying = func(err error) {
		if r.o.Waiting != nil {
			once.Do(func() {
				r.o.Waiting(fmt.Sprintf("COORDINATOR=%s does not answer yet (%v): asking again for up to %v", r.base.Redacted(), err, r.o.Patience))
			})
		}
	}
	retrying := r.retrying
	silent := time.AfterFunc(silence, func() { retrying(fmt.Errorf("no reply for %v", silence)) })
	defer func() {
		silent.Stop()
		r.retrying = nil
	}()
	return r.insist(ctx, pathRun, struct{}{}, &r.reply)
}

// Salt is the salt of the run's texts, Run its id, Runners how many there are.
func (r *Runner) Salt() string { return r.reply.Salt }
func (r *Runner) Run() string  { return r.reply.Run }
func (r *Runner) Runners() int { return r.reply.Runners }

// Clock returns what was measured last.
func (r *Runner) Clock() Clock {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock
}

// Register takes a part in the run, from 1. From here on the runner sends its records.
func (r *Runner) Register(ctx context.Context, part, of int, facts Facts) error {
	if of != r.reply.Runners {
		return fmt.Errorf("RUNNERS=%d, but the coordinator waits for %d; start it with --runners %d", of, r.reply.Runners, of)
	}
	if err := r.measure(ctx, 12); err != nil {
		return err
	}
	c := r.Clock()
	facts.OffsetNs, facts.UncertaintyNs = c.ZeroUnixNs-r.o.StartUnixNs, c.UncertaintyNs
	r.part = part
	var reply registered
	if err := r.insist(ctx, pathRegister, registration{Run: r.reply.Run, Instance: r.instance, Part: part, Of: of, Facts: facts}, &reply); err != nil {
		return err
	}
	if lost := time.Duration(reply.LostAfterMs) * time.Millisecond; lost > 0 {
		r.o.Patience = lost
	}
	r.sent = make(chan struct{})
	go r.send()
	return nil
}

// Rest returns the records that the coordinator has not confirmed, which follow its first `at` bytes, once Close has returned.
func (r *Runner) Rest() (at int64, records []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at, r.pending
}

// measure compares the clocks as NTP does: the reading of the coordinator's clock lies in the middle of the exchange, give
// or take half of it. The shortest exchange says it best. A worse measurement than the last one is not taken over while
// that is fresh: clocks of synchronized hosts drift by less than a busy network delays.
func (r *Runner) measure(ctx context.Context, exchanges int) error {
	best := Clock{UncertaintyNs: -1}
	for range exchanges {
		var reply timeReply
		before := r.o.Now()
		if err := r.insist(ctx, pathTime, struct{}{}, &reply); err != nil {
			return err
		}
		after := r.o.Now()
		if half := (after - before + 1) / 2; best.UncertaintyNs < 0 || half < best.UncertaintyNs {
			best = Clock{AtNs: after, ZeroUnixNs: reply.UnixNs - before - half, UncertaintyNs: half}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	const fresh = int64(time.Minute)
	if r.clock.AtNs == 0 || best.UncertaintyNs <= 2*r.clock.UncertaintyNs || best.AtNs-r.clock.AtNs > fresh {
		r.clock = best
	}
	return nil
}

// Meet returns when all runners have come to this place of the run: with the common start on the run's clock, a little
// ahead where `start` asks for it, and the largest of their numbers.
func (r *Runner) Meet(ctx context.Context, at string, number int, start bool) (startNs int64, largest int, err error) {
	if err := r.measure(ctx, 4); err != nil {
		return 0, 0, err
	}
	in := meetRequest{Run: r.reply.Run, Instance: r.instance, Part: r.part, At: at, Number: number, Start: start}
	for {
		var reply meetReply
		if err := r.insist(ctx, pathMeet, in, &reply); err != nil {
			return 0, 0, err
		}
		if !reply.Wait {
			return reply.StartUnixNs - r.Clock().ZeroUnixNs, reply.Number, nil
		}
	}
}

// Add takes over one line of the records, without its newline.
func (r *Runner) Add(line []byte) {
	r.mu.Lock()
	r.pending = append(append(r.pending, line...), '\n')
	r.mu.Unlock()
}

// Close sends what is left, and says that this runner is done. It returns what kept it from that.
func (r *Runner) Close() error {
	if r.sent == nil {
		return nil
	}
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	<-r.sent
	r.http.CloseIdleConnections()
	return r.left
}

// sendPeriod bounds what a runner that dies takes with it.
const sendPeriod = 200 * time.Millisecond

// send sends the records as they grow, until Close. Every reply reports whether the run has ended.
func (r *Runner) send() {
	defer close(r.sent)
	lastNs := time.Now()
	for {
		r.mu.Lock()
		chunk, at, closing := r.chunk(), r.at, r.closing
		r.mu.Unlock()
		done := closing && len(chunk) == 0
		if len(chunk) > 0 || done || time.Since(lastNs) >= heartbeat {
			held, err := r.post(chunk, at, done)
			lastNs = time.Now()
			if err != nil {
				r.left = err
				r.over(fmt.Sprintf("the coordinator does not take this runner's records: %v", err))
				return
			}
			if done {
				return
			}
			r.mu.Lock()
			if n := held - r.at; n >= 0 && n <= int64(len(r.pending)) {
				r.pending, r.at = r.pending[n:], held
			}
			r.mu.Unlock()
			if closing {
				continue
			}
		}
		select {
		case <-time.After(sendPeriod):
		case <-r.wake:
		}
	}
}

// chunk returns the whole lines that go into one request. The caller holds r.mu.
func (r *Runner) chunk() []byte {
	c := r.pending
	if len(c) > maxChunk {
		c = c[:maxChunk]
		if cut := bytes.LastIndexByte(c, '\n'); cut >= 0 {
			c = c[:cut+1]
		}
	}
	return bytes.Clone(c)
}

// post sends a piece of the records; the coordinator confirms what it has written.
func (r *Runner) post(chunk []byte, at int64, done bool) (held int64, err error) {
	q := url.Values{"run": {r.reply.Run}, "instance": {r.instance}, "part": {strconv.Itoa(r.part)}, "offset": {strconv.FormatInt(at, 10)}}
	if done {
		q.Set("done", "true")
	}
	var reply recordsReply
	if err := r.insistRaw(context.Background(), pathRecords+"?"+q.Encode(), "application/x-ndjson", chunk, &reply); err != nil {
		return 0, err
	}
	if reply.End != "" {
		r.over(reply.End)
	}
	return reply.Held, nil
}

// over tells the instance once that the run has ended.
func (r *Runner) over(reason string) {
	r.mu.Lock()
	first := r.ended == ""
	if first {
		r.ended = reason
	}
	closing := r.closing
	r.mu.Unlock()
	if first && !closing && r.o.Ended != nil {
		r.o.Ended(reason)
	}
}

// Ended returns why the run ended early for all; "" = it has not.
func (r *Runner) Ended() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

func (r *Runner) insist(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return r.insistRaw(ctx, path, "application/json", body, out)
}

// insistRaw asks again while the coordinator cannot be reached, for as long as its patience lasts.
func (r *Runner) insistRaw(ctx context.Context, path, contentType string, body []byte, out any) error {
	began := time.Now()
	var refusedSince time.Time
	for {
		// A reply to a meeting may take a long poll; all others come at once.
		most := 2 * longPoll
		if path != pathMeet {
			most = min(most, max(r.o.Patience-time.Since(began), heartbeat))
		}
		err := r.ask(ctx, most, path, contentType, body, out)
		switch {
		case !errors.Is(err, syscall.ECONNREFUSED):
			refusedSince = time.Time{}
		case refusedSince.IsZero():
			refusedSince = time.Now()
		case r.part > 0 && time.Since(refusedSince) > gonePatience:
			return fmt.Errorf("nothing has listened at its address for %v: %w", gonePatience, err)
		}
		var no refused
		switch {
		case err == nil:
			return nil
		case errors.As(err, &no) && no.status == http.StatusGone:
			return ErrEnded{no.reason}
		case speaksPlainly(err):
			return errors.New("there is no TLS at its address: it is no coordinator with a token")
		case errors.As(err, &no), errors.Is(err, errUntrusted), ctx.Err() != nil:
			return err
		case time.Since(began) > r.o.Patience:
			return fmt.Errorf("it could not be reached for %v: %w", r.o.Patience, err)
		}
		if r.retrying != nil {
			r.retrying(err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// speaksPlainly reports whether the other end answered a TLS handshake with something else.
func speaksPlainly(err error) bool {
	var header tls.RecordHeaderError
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &header)
}

func (r *Runner) ask(ctx context.Context, most time.Duration, path, contentType string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base.Scheme+"://"+r.base.Host+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	if r.o.Token != "" {
		request.Header.Set("Authorization", "Bearer "+r.o.Token)
	}
	reply, err := r.http.Do(request)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // the address is known, and its query is long
		}
		return err
	}
	defer func() { _ = reply.Body.Close() }()
	if reply.StatusCode != http.StatusOK {
		var why problem
		if json.NewDecoder(reply.Body).Decode(&why) != nil || why.Error == "" {
			return refused{reply.StatusCode, fmt.Sprintf("HTTP %s: is it a coordinator?", strings.TrimSpace(reply.Status))}
		}
		return refused{reply.StatusCode, why.Error}
	}
	return json.NewDecoder(reply.Body).Decode(out)
}
