package tally

import "github.com/tokenclock/tokenclock/extension/internal/stream"

// SessionOutcome says how a session ended.
type SessionOutcome string

// The outcomes.
const (
	SessionCompleted SessionOutcome = "completed" // all of its turns, and none failed
	SessionFailed    SessionOutcome = "failed"    // a turn failed, and the rest was not sent
	SessionAbandoned SessionOutcome = "abandoned" // a turn was given up on purpose
	SessionCut       SessionOutcome = "cut"       // the load gave it no more turns, or the run ended
)

// Session is one session that has ended. Times are of package clock in ns.
type Session struct {
	Level          string
	Phase          Phase
	Outcome        SessionOutcome
	Turns, NotSent int   // turns that were sent, and those that were planned and were not
	StartNs, EndNs int64 // scheduled, and the last end of a turn; 0 = it sent none
	WaitNs         int64 // think time and tool waits together
	TasksNs        []int64
}

// SessionSummary is SessionSummary of index.d.ts.
type SessionSummary struct {
	Sessions   int64 `json:"sessions" js:"sessions"`
	Completed  int64 `json:"completed" js:"completed"`
	Failed     int64 `json:"failed" js:"failed"`
	Abandoned  int64 `json:"abandoned" js:"abandoned"`
	Cut        int64 `json:"cut" js:"cut"`
	Turns      int64 `json:"turns" js:"turns"`
	NotSent    int64 `json:"notSent" js:"notSent"`
	DurationMs Stats `json:"durationMs" js:"durationMs"`
	TaskMs     Stats `json:"taskMs" js:"taskMs"`
	WaitMs     Stats `json:"waitMs" js:"waitMs"`
}

// TurnSummary is TurnSummary of index.d.ts.
type TurnSummary struct {
	Turn         int      `json:"turn" js:"turn"`
	Requests     int64    `json:"requests" js:"requests"`
	Completed    int64    `json:"completed" js:"completed"`
	InputTokens  int64    `json:"inputTokens" js:"inputTokens"`
	CachedTokens int64    `json:"cachedTokens" js:"cachedTokens"`
	CachedShare  *float64 `json:"cachedShare,omitempty" js:"cachedShare"`
	TTFTMs       Stats    `json:"ttftMs" js:"ttftMs"`
	OutputSpeed  Stats    `json:"outputSpeed" js:"outputSpeed"`
}

// mostTurns is how many turns are distinguished; later ones share the last place.
const mostTurns = 1000

// sessions collects the sessions of a level.
type sessions struct {
	count, turns, notSent int64
	by                    map[SessionOutcome]int64
	duration, task, wait  distribution
	byTurn                []*turnTally
}

type turnTally struct {
	requests, completed, input, cached int64
	ttft, speed                        distribution
}

// AddSession folds one ended session. Sessions of a warm-up are left out of their level.
func (r *Run) AddSession(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.levels[s.Level]; l != nil && s.Phase != Warmup {
		l.sessions.end(s)
	}
	r.total.sessions.end(s)
}

func (t *sessions) end(s *Session) {
	if t.by == nil {
		t.by = map[SessionOutcome]int64{}
	}
	t.count++
	t.by[s.Outcome]++
	t.turns += int64(s.Turns)
	t.notSent += int64(s.NotSent)
	if s.Outcome == SessionCompleted && s.EndNs > 0 {
		t.duration.add(s.EndNs-s.StartNs, 1)
		t.wait.add(s.WaitNs, 1)
		for _, ns := range s.TasksNs {
			t.task.add(ns, 1)
		}
	}
}

// turn folds a steady request that is a turn of a session.
func (t *sessions) turn(o *Observation, f Figures) {
	if o.Turn == 0 {
		return
	}
	for len(t.byTurn) < min(o.Turn, mostTurns) {
		t.byTurn = append(t.byTurn, &turnTally{})
	}
	turn := t.byTurn[min(o.Turn, mostTurns)-1]
	turn.requests++
	if o.Failure != stream.None {
		return
	}
	turn.completed++
	turn.input += int64(o.InputTokens)
	turn.cached += int64(o.CachedTokens)
	turn.ttft.add(f.TTFT, 1)
	if f.OutputSpeed > 0 {
		turn.speed.add(int64(f.OutputSpeed*1000+.5), 1)
	}
}

// summary returns nothing where the level had no session. A share is reported where any usage named cached tokens: vLLM's names
// hits alone.
func (t *sessions) summary(toldInLevel bool) (*SessionSummary, []TurnSummary) {
	const ms = 1e6
	var turns []TurnSummary
	for k, turn := range t.byTurn {
		s := TurnSummary{
			Turn: k + 1, Requests: turn.requests, Completed: turn.completed, InputTokens: turn.input, CachedTokens: turn.cached,
			TTFTMs: turn.ttft.stats(ms), OutputSpeed: turn.speed.stats(1000),
		}
		if toldInLevel && turn.input > 0 {
			share := float64(turn.cached) / float64(turn.input)
			s.CachedShare = &share
		}
		turns = append(turns, s)
	}
	if t.count == 0 {
		return nil, turns
	}
	return &SessionSummary{
		Sessions: t.count, Completed: t.by[SessionCompleted], Failed: t.by[SessionFailed], Abandoned: t.by[SessionAbandoned],
		Cut: t.by[SessionCut], Turns: t.turns, NotSent: t.notSent,
		DurationMs: t.duration.stats(ms), TaskMs: t.task.stats(ms), WaitMs: t.wait.stats(ms),
	}, turns
}
