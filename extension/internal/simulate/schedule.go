package simulate

import (
	"math/rand/v2"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// schedule is the pace in which every stream has a timetable of its own that begins when its request began: token k is
// due at begin + TTFT + k * ITL, however late an earlier one was, whatever other streams do.
type schedule struct {
	srv     *Server
	running int
	ttftNs  int64 // where it is the same for all
	itlNs   int64
	drawn   bool // TTFT or ITL is random
	beganNs int64
}

// jitter holds the random timetable of one stream.
type jitter struct {
	rng       *rand.Rand
	ttft, itl Distribution
}

func newSchedule(s *Server) *schedule {
	p := s.config.Pacing
	random := func(d Distribution) bool { return d.kind != "" && d.kind != "fixed" }
	return &schedule{srv: s, ttftNs: int64(p.TTFT.a), itlNs: int64(p.ITL.a), drawn: random(p.TTFT) || random(p.ITL), beganNs: clock.Now()}
}

func (s *schedule) submit(g *generation) {
	s.running++
	a := g.a
	g.timer.task = g
	ttftNs, itlNs := s.ttftNs, s.itlNs
	g.unpaced = s.srv.config.Pacing.ITL.zero()
	if s.drawn {
		p := s.srv.config.Pacing
		g.jitter = &jitter{rand.New(rand.NewPCG(s.srv.config.Seed, uint64(g.text))), p.TTFT, p.ITL}
		ttftNs = p.TTFT.drawNs(g.jitter.rng)
	}
	if p := &s.srv.config.Pacing; p.SlowDown > 0 {
		sinceNs := a.rec.beginNs - s.beganNs
		ttftNs, itlNs = p.slowed(ttftNs, sinceNs), p.slowed(itlNs, sinceNs)
		if g.jitter != nil {
			g.jitter.itl = g.jitter.itl.times(float64(p.slowed(1e9, sinceNs)) / 1e9)
		}
	}
	if ms := a.fault.TTFTMs; ms != nil {
		ttftNs = int64(*ms * 1e6)
	}
	if ms := a.fault.ITLMs; ms != nil {
		itlNs = int64(*ms * 1e6)
		g.unpaced = itlNs == 0
		if g.jitter != nil {
			g.jitter.itl = Distribution{"fixed", float64(itlNs), 0}
		}
	}
	g.dueNs = a.rec.beginNs + ttftNs
	s.stall(g)
	g.seq.itlNs = itlNs
	if !a.stream { // one time to wait for: that of the last token
		for g.produced = 1; g.produced < g.target; g.produced++ {
			s.next(g)
		}
		g.produced = 0
	}
	dueNs := max(g.dueNs, g.notBeforeNs)
	if nowNs := clock.Now(); dueNs <= nowNs {
		g.run(nowNs)
		return
	}
	s.srv.loop.pacer.set(&g.timer, dueNs)
}

// stall moves the timetable from the stalled token on; or, if the stream is to catch up, that token alone.
func (s *schedule) stall(g *generation) {
	f := &g.a.fault
	if f.Stall == nil || *f.Stall != g.produced {
		return
	}
	if ns := int64(f.StallMs * 1e6); f.CatchUp {
		g.notBeforeNs = g.dueNs + ns
	} else {
		g.dueNs += ns
	}
}

// next moves the due time to that of the next token: the one before if both are of one burst.
func (s *schedule) next(g *generation) {
	if burst := g.a.fault.Burst; g.produced%burst == 0 {
		for range burst {
			if g.jitter == nil {
				g.dueNs += g.seq.itlNs * int64(burst)
				break
			}
			g.dueNs += g.jitter.itl.drawNs(g.jitter.rng)
		}
	}
	s.stall(g)
}

// heldNs is when a token that is due may be sent: now, or when the stall of the stream or of the whole server ends.
func (s *schedule) heldNs(g *generation, nowNs int64) int64 {
	atNs := max(nowNs, g.notBeforeNs)
	if p := &s.srv.config.Pacing; p.StallEvery > 0 {
		if intoNs := (atNs - s.beganNs) % int64(p.StallEvery); intoNs >= int64(p.StallEvery-p.StallFor) {
			atNs += int64(p.StallEvery) - intoNs
		}
	}
	return atNs
}

// run sends the token that is due and sets the timer for the next.
func (g *generation) run(nowNs int64) {
	a := g.a
	s := a.srv.pace.(*schedule)
	if !g.unpaced || g.produced == 0 {
		if atNs := s.heldNs(g, nowNs); atNs > nowNs {
			a.srv.loop.pacer.set(&g.timer, atNs)
			return
		}
	}
	switch {
	case !a.stream:
		a.tokens(g, g.target, nowNs)
		return
	case g.unpaced && g.produced > 0:
		a.sendUnpaced(g)
		return
	}
	g.notBeforeNs = 0
	// What is due together is sent together: tokens of a burst, those behind a stall, and all others of a late stream if it
	// is to catch up.
	together := a.fault.Burst > 1 || a.fault.CatchUp || a.srv.config.Pacing.CatchUp
	a.corked = a.fault.OneWrite
	for {
		a.tokens(g, 1, nowNs)
		if g.produced >= g.target {
			s.running--
			break
		}
		if a.over {
			break
		}
		s.next(g)
		if !together || g.unpaced || g.dueNs > nowNs || g.notBeforeNs > nowNs {
			break
		}
	}
	if a.corked {
		a.corked = false
		if a.c.closed {
			a.dropFrames()
		} else {
			a.flushFrames()
		}
	}
	if a.over || g.produced >= g.target {
		return
	}
	if g.unpaced && g.dueNs <= nowNs {
		a.sendUnpaced(g)
		return
	}
	a.srv.loop.pacer.set(&g.timer, max(g.dueNs, g.notBeforeNs))
}

func (s *schedule) cancel(g *generation) {
	s.srv.loop.pacer.clear(&g.timer)
}

func (s *schedule) resetCache() {}

func (s *schedule) usage() (running, waiting int, kvCache float64) { return s.srv.inFlight, 0, 0 }
