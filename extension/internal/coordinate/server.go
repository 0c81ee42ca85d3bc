package coordinate

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config is the settings of a coordinator.
type Config struct {
	Runners int
	// Dir is where the runners' records go: Dir/part-1/records.ndjson, ...
	Dir   string
	Token string // "" = none is asked for
	Salt  string

	Lead           time.Duration // between the last runner's coming to a start and the start
	WaitFor        time.Duration // for all runners to register
	MeetWithin     time.Duration // longest time that a runner waits for the others
	LostAfter      time.Duration // without a word of a runner
	MaxOffset      time.Duration // of a runner's clock
	MaxUncertainty time.Duration // of the measured offset

	Log func(line string)
}

// Server is the coordinator of one run.
type Server struct {
	c    Config
	run  string
	zero time.Time // the wall clock is read once: whoever sets it later moves no start

	mu       sync.Mutex
	parts    []*partState // by number, less one; nil = not here yet
	meetings map[string]*meeting
	end      string        // why the run ended early, "" = it has not
	over     chan struct{} // closed with it
	changed  chan struct{} // closed and made anew when a runner registers, ends or is lost
}

// partState is what the coordinator knows of a runner.
type partState struct {
	registration
	file   *os.File
	heard  time.Time
	at     string // where it waits, "" = it works
	since  time.Time
	done   bool // it has ended and sent everything
	lost   bool
	writes sync.Mutex // held while its records are written
	held   int64      // bytes written, guarded by Server.mu
}

// meeting is a place at which all runners come together.
type meeting struct {
	came   map[int]bool // by part
	number int
	start  int64
	full   chan struct{} // closed when all have come
}

// PartFolder is the name of a part's folder in the coordinator's.
func PartFolder(part int) string { return "part-" + strconv.Itoa(part) }

// recordsName is the file in it. It is not compressed: whatever has arrived is whole on the disk.
const recordsName = "records.ndjson"

// NewServer makes the coordinator's folders. An earlier run's are not written over.
func NewServer(c Config) (*Server, error) {
	if c.Runners < 1 {
		return nil, fmt.Errorf("--runners %d: it must be at least 1", c.Runners)
	}
	if c.Log == nil {
		c.Log = func(string) {}
	}
	s := &Server{
		c: c, run: randomHex(8), zero: time.Now(), parts: make([]*partState, c.Runners), meetings: map[string]*meeting{},
		over: make(chan struct{}), changed: make(chan struct{}),
	}
	if s.c.Salt == "" {
		s.c.Salt = randomHex(8)
	}
	for k := range c.Runners {
		dir := filepath.Join(c.Dir, PartFolder(k+1))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if _, err := os.Lstat(filepath.Join(dir, recordsName)); !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s holds records already; name another folder with --results", dir)
		}
	}
	return s, nil
}

// Run is the id of the run.
func (s *Server) Run() string { return s.run }

// unixNs is the time that all runners go by.
func (s *Server) unixNs() int64 { return s.zero.UnixNano() + int64(time.Since(s.zero)) }

// Handler serves the protocol.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathTime, func(w http.ResponseWriter, _ *http.Request) { answer(w, timeReply{s.unixNs()}) })
	mux.HandleFunc("POST "+pathRun, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, runReply{s.run, s.c.Salt, s.c.Runners})
	})
	mux.HandleFunc("POST "+pathRegister, s.register)
	mux.HandleFunc("POST "+pathMeet, s.meet)
	mux.HandleFunc("POST "+pathRecords, s.records)
	return guarded(s.c.Token, mux)
}

// name is how messages speak of a runner.
func (s *Server) name(part int) string { return fmt.Sprintf("runner %d of %d", part, s.c.Runners) }

// ends ends the run for all, once. The caller holds s.mu.
func (s *Server) ends(reason string) {
	if s.end != "" {
		return
	}
	s.end = reason
	close(s.over)
	s.c.Log("the run ends: " + reason)
	s.wake()
}

// End ends the run for all.
func (s *Server) End(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends(reason)
}

func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	var in registration
	if !read(w, r, &in) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.Run != s.run {
		refuse(w, http.StatusConflict, "this is the coordinator of another run: start runners and coordinator together")
		return
	}
	if s.end != "" {
		refuse(w, http.StatusGone, s.end)
		return
	}
	if in.Of == s.c.Runners && in.Part >= 1 && in.Part <= in.Of {
		if p := s.parts[in.Part-1]; p != nil && p.Instance == in.Instance { // its reply was lost
			answer(w, registered{s.c.LostAfter.Milliseconds()})
			return
		}
	}
	if why := s.unfit(&in); why != "" {
		s.ends(why)
		refuse(w, http.StatusConflict, why)
		return
	}
	file, err := os.OpenFile(filepath.Join(s.c.Dir, PartFolder(in.Part), recordsName), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		why := fmt.Sprintf("the records of %s cannot be written: %v", s.name(in.Part), err)
		s.ends(why)
		refuse(w, http.StatusInternalServerError, why)
		return
	}
	s.parts[in.Part-1] = &partState{registration: in, file: file, heard: time.Now()}
	s.c.Log(fmt.Sprintf("%s is here, its clock %.3f ms off, known to %.3f ms", s.name(in.Part), float64(-in.OffsetNs)/1e6, float64(in.UncertaintyNs)/1e6))
	s.wake()
	answer(w, registered{s.c.LostAfter.Milliseconds()})
}

// unfit says why a runner cannot take part, "" where it can.
func (s *Server) unfit(in *registration) string {
	if in.Of != s.c.Runners || in.Part < 1 || in.Part > in.Of {
		return fmt.Sprintf("runner %d of %d came, but the coordinator was started with --runners %d", in.Part, in.Of, s.c.Runners)
	}
	who := s.name(in.Part)
	if s.parts[in.Part-1] != nil {
		return who + " came twice: each instance needs an execution segment of its own"
	}
	if off := time.Duration(in.OffsetNs).Abs(); off > s.c.MaxOffset {
		return fmt.Sprintf("the clock of %s is %v off the coordinator's, limit %v: synchronize the hosts' clocks", who, off.Round(time.Millisecond), s.c.MaxOffset)
	}
	if d := time.Duration(in.UncertaintyNs); d > s.c.MaxUncertainty || d < 0 {
		return fmt.Sprintf("the clock of %s is known to %v only, limit %v: the network between runner and coordinator is too slow for a common start", who, d.Round(time.Microsecond), s.c.MaxUncertainty)
	}
	for _, p := range s.parts {
		if p == nil {
			continue
		}
		other := s.name(p.Part)
		switch {
		case p.Scenario != in.Scenario:
			return fmt.Sprintf("%s runs %s, %s runs %s", who, in.Scenario, other, p.Scenario)
		case p.Build != in.Build:
			return fmt.Sprintf("%s is another build of k6 than %s (sha256 %.12s, %.12s): all runners need the same one", who, other, in.Build, p.Build)
		}
		if name, mine, theirs := firstDifference(in.Settings, p.Settings); name != "" {
			return fmt.Sprintf("%s has %s=%s, %s has %s: all runners need the same settings", who, name, mine, other, theirs)
		}
	}
	return ""
}

// firstDifference returns the first setting, in order of the names, that two runners have different values of.
func firstDifference(a, b map[string]any) (name, inA, inB string) {
	names := slices.Sorted(maps.Keys(a))
	for n := range b {
		if _, both := a[n]; !both {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		x, _ := json.Marshal(a[n])
		y, _ := json.Marshal(b[n])
		if !bytes.Equal(x, y) {
			return n, string(x), string(y)
		}
	}
	return "", "", ""
}

// part returns the state of the runner that asks; nil where it was refused.
func (s *Server) part(w http.ResponseWriter, run, instance string, part int) *partState {
	if run != s.run || part < 1 || part > len(s.parts) || s.parts[part-1] == nil || s.parts[part-1].Instance != instance {
		refuse(w, http.StatusConflict, "this coordinator does not know the runner: it belongs to another run")
		return nil
	}
	p := s.parts[part-1]
	p.heard = time.Now()
	return p
}

func (s *Server) meet(w http.ResponseWriter, r *http.Request) {
	var in meetRequest
	if !read(w, r, &in) {
		return
	}
	s.mu.Lock()
	p := s.part(w, in.Run, in.Instance, in.Part)
	if p == nil {
		s.mu.Unlock()
		return
	}
	m := s.meetings[in.At]
	if m == nil {
		m = &meeting{came: map[int]bool{}, full: make(chan struct{})}
		s.meetings[in.At] = m
	}
	if !m.came[in.Part] {
		m.came[in.Part], p.at, p.since = true, in.At, time.Now()
		m.number = max(m.number, in.Number)
		if len(m.came) == s.c.Runners {
			m.start = s.unixNs()
			if in.Start {
				m.start += int64(s.lead())
			}
			close(m.full)
		}
	}
	s.refuseHopeless()
	s.mu.Unlock()

	poll := time.NewTimer(longPoll)
	defer poll.Stop()
	select {
	case <-m.full:
	case <-s.over:
	case <-poll.C:
	case <-r.Context().Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.heard = time.Now()
	select {
	case <-m.full: // even where the run has ended since: all runners get the same answer
		p.at = ""
		answer(w, meetReply{StartUnixNs: m.start, Number: m.number})
	default:
		if s.end != "" {
			refuse(w, http.StatusGone, s.end)
			return
		}
		answer(w, meetReply{Wait: true})
	}
}

// lead is how long before a start the runners learn of it: their replies must have come by then.
func (s *Server) lead() time.Duration {
	lead := s.c.Lead
	for _, p := range s.parts {
		lead = max(lead, s.c.Lead+4*time.Duration(p.UncertaintyNs))
	}
	return lead
}

// refuseHopeless ends the run where runners wait for others that will never come: those that have ended, and those that
// wait at another place.
func (s *Server) refuseHopeless() {
	waits, places := 0, map[string][]string{}
	var ended, waiting []string
	for _, p := range s.parts {
		switch {
		case p == nil:
			return
		case p.done:
			ended = append(ended, s.name(p.Part))
		case p.at != "" && !s.isFull(p.at):
			waits++
			places[p.at] = append(places[p.at], s.name(p.Part))
			waiting = append(waiting, fmt.Sprintf("%s waits at %s", s.name(p.Part), p.at))
		}
	}
	switch {
	case waits > 0 && len(ended) > 0:
		s.ends(fmt.Sprintf("%s ended before the others: %s", strings.Join(ended, ", "), strings.Join(waiting, ", ")))
	case waits == s.c.Runners && len(places) > 1:
		s.ends("the runners do not run the same load: " + strings.Join(waiting, ", "))
	}
}

func (s *Server) isFull(at string) bool {
	m := s.meetings[at]
	return m != nil && len(m.came) == s.c.Runners
}

// records appends to a runner's records. A request that comes twice is written once.
func (s *Server) records(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	part, _ := strconv.Atoi(q.Get("part"))
	offset, err := strconv.ParseInt(q.Get("offset"), 10, 64)
	if err != nil || offset < 0 {
		refuse(w, http.StatusBadRequest, "offset is not a number from 0")
		return
	}
	s.mu.Lock()
	p := s.part(w, q.Get("run"), q.Get("instance"), part)
	s.mu.Unlock()
	if p == nil {
		return
	}
	body, readErr := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChunk))
	if readErr != nil {
		// The runner died, or the network did, while it sent. What has arrived counts, line by line.
		body = body[:bytes.LastIndexByte(body, '\n')+1]
	}
	p.writes.Lock()
	defer p.writes.Unlock()
	s.mu.Lock()
	held, isOver := p.held, p.done
	s.mu.Unlock()
	if offset > held || isOver && offset+int64(len(body)) > held {
		refuse(w, http.StatusConflict, fmt.Sprintf("%d bytes of records are missing before those sent", offset-held))
		return
	}
	if news := held - offset; news < int64(len(body)) {
		n, err := p.file.Write(body[news:])
		held += int64(n)
		if err != nil {
			s.End(fmt.Sprintf("the records of %s cannot be written: %v", s.name(part), err))
		}
	}
	done := q.Get("done") == "true" && readErr == nil && !isOver
	if done {
		if err := errors.Join(p.file.Sync(), p.file.Close()); err != nil {
			s.End(fmt.Sprintf("the records of %s cannot be written: %v", s.name(part), err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.held, p.heard = held, time.Now()
	if done {
		p.done = true
		s.c.Log(s.name(part) + " has ended and sent all of its records")
		s.wake()
		s.refuseHopeless()
	}
	answer(w, recordsReply{held, s.end})
}

// Wait returns when every runner has ended, or is lost, or never came, with the reason why the run ended early.
func (s *Server) Wait(ctx context.Context) (reason string) {
	started := time.Now()
	tick := time.NewTicker(min(s.c.LostAfter/4, 100*time.Millisecond))
	defer tick.Stop()
	for {
		s.mu.Lock()
		s.checkRunners(started)
		changed, over, end := s.changed, s.isOver(), s.end
		s.mu.Unlock()
		if over {
			return end
		}
		select {
		case <-tick.C:
		case <-changed:
		case <-ctx.Done():
			s.End("the coordinator was interrupted")
			ctx = context.WithoutCancel(ctx) // the runners still send what they have
		}
	}
}

// checkRunners finds the runners that are lost, those that do not come, and those that wait too long.
func (s *Server) checkRunners(started time.Time) {
	var missing []string
	for k, p := range s.parts {
		if p == nil {
			missing = append(missing, strconv.Itoa(k+1))
			continue
		}
		if silent := time.Since(p.heard); !p.done && !p.lost && silent > s.c.LostAfter {
			p.lost = true
			where := ""
			if p.at != "" {
				where = ", last at " + p.at
			}
			s.ends(fmt.Sprintf("%s is lost: nothing was heard of it for %v%s", s.name(p.Part), s.c.LostAfter, where))
		}
		if p.at != "" && !p.done && !s.isFull(p.at) && time.Since(p.since) > s.c.MeetWithin {
			s.ends(fmt.Sprintf("%s waited for the others at %s for %v", s.name(p.Part), p.at, s.c.MeetWithin))
		}
	}
	if len(missing) > 0 && time.Since(started) > s.c.WaitFor {
		s.ends(fmt.Sprintf("runner %s of %d did not come within %v", strings.Join(missing, ", "), s.c.Runners, s.c.WaitFor))
	}
}

// isOver reports whether nothing more will come.
func (s *Server) isOver() bool {
	for _, p := range s.parts {
		if p == nil && s.end == "" || p != nil && !p.done && !p.lost {
			return false
		}
	}
	return true
}

// Parts says which runners came, and what became of them, for coordinator.json.
func (s *Server) Parts() []PartReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]PartReport, len(s.parts))
	for k, p := range s.parts {
		out[k].Part = k + 1
		switch {
		case p == nil:
			out[k].State = "never came"
			continue
		case p.done:
			out[k].State = "ended"
		case p.lost:
			out[k].State = "lost"
		}
		out[k].Build, out[k].OffsetNs, out[k].UncertaintyNs, out[k].RecordBytes = p.Build, p.OffsetNs, p.UncertaintyNs, p.held
	}
	return out
}

// PartReport is what became of a runner.
type PartReport struct {
	Part          int    `json:"part"`
	State         string `json:"state"` // ended, lost or never came
	Build         string `json:"build,omitempty"`
	OffsetNs      int64  `json:"offsetNs"`
	UncertaintyNs int64  `json:"uncertaintyNs"`
	RecordBytes   int64  `json:"recordBytes"`
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a runner that is gone asks again, or is lost
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{why})
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, "the request cannot be read: "+err.Error())
		return false
	}
	return true
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}
