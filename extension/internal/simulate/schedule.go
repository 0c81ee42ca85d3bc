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
}

// jitter holds the random timetable of one stream.
type jitter struct {
	rng       *rand.Rand
	ttft, itl Distribution
}

func newSchedule(s *Server) *schedule {
	p := s.config.Pacing
	random := func(d Distribution) bool { return d.kind != "" && d.kind != "fixed" }
	return &schedule{srv: s, ttftNs: int64(p.TTFT.a), itlNs: int64(p.ITL.a), drawn: random(p.TTFT) || random(p.ITL)}
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
		for range g.target - 1 {
			if g.jitter == nil {
				g.dueNs += itlNs * int64(g.target-1)
				break
			}
			g.dueNs += g.jitter.itl.drawNs(g.jitter.rng)
		}
		if at := a.fault.Stall; at != nil && *at > 0 && *at < g.target {
			g.dueNs += int64(a.fault.StallMs * 1e6)
		}
	}
	if nowNs := clock.Now(); g.dueNs <= nowNs {
		g.run(nowNs)
		return
	}
	s.srv.loop.pacer.set(&g.timer, g.dueNs)
}

// stall moves the timetable from the stalled token on.
func (s *schedule) stall(g *generation) {
	if at := g.a.fault.Stall; at != nil && *at == g.produced {
		g.dueNs += int64(g.a.fault.StallMs * 1e6)
	}
}

// run sends the token that is due and sets the timer for the next.
func (g *generation) run(nowNs int64) {
	a := g.a
	s := a.srv.pace.(*schedule)
	switch {
	case !a.stream:
		a.tokens(g, g.target, nowNs)
		return
	case g.unpaced && g.produced > 0:
		a.sendUnpaced(g)
		return
	}
	a.tokens(g, 1, nowNs)
	if g.produced >= g.target {
		s.running--
		return
	}
	if a.over {
		return
	}
	if g.jitter != nil {
		g.dueNs += g.jitter.itl.drawNs(g.jitter.rng)
	} else {
		g.dueNs += g.seq.itlNs
	}
	s.stall(g)
	if g.unpaced && g.dueNs <= nowNs {
		a.sendUnpaced(g)
		return
	}
	a.srv.loop.pacer.set(&g.timer, g.dueNs)
}

func (s *schedule) cancel(g *generation) {
	s.srv.loop.pacer.clear(&g.timer)
}

func (s *schedule) resetCache() {}

func (s *schedule) usage() (running, waiting int, kvCache float64) { return s.srv.inFlight, 0, 0 }
