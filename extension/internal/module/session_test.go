package module

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// talker answers with one token: those whose path is /fail with 500, those of /hold never.
func talker(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fail":
			w.WriteHeader(http.StatusInternalServerError)
			return
		case "/hold":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\ndata: {\"choices\":[{\"index\":0,\"text\":\"b\"}]}\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Token", r.Header.Get("X-Session"))
		_, _ = fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// bySession are the request lines of each session in the order of their turns.
func bySession(t *testing.T, lines []map[string]any) map[string][]map[string]any {
	sessions := map[string][]map[string]any{}
	for _, line := range lines {
		if line["type"] != "request" {
			continue
		}
		id, turn := line["session"].(string), int(line["turn"].(float64))
		for len(sessions[id]) < turn {
			sessions[id] = append(sessions[id], nil)
		}
		require.Nil(t, sessions[id][turn-1], "turn %d of %s twice", turn, id)
		sessions[id][turn-1] = line
	}
	return sessions
}

func unsentOf(c *carriers) string {
	_, missing := c.root.current().Ended()
	return missing
}

func ns(line map[string]any, field string) int64 {
	f, _ := line[field].(float64)
	return int64(f)
}

// holdScript has hold(slot, turns, waitMs), which sends the turns of a session.
const holdScript = `
	client = new tc.Client({ url: base, api: "completions" });
	hold = async (slot, turns, waitMs, path = () => "") => {
		const session = new tc.Session(slot, turns);
		for (let k = 0; k < turns; k++) {
			const turn = await session.turn({ waitMs: k === 0 ? 0 : waitMs });
			if (turn === null) return;
			await client.start({ body: "{}", url: base + path(slot, k) }, turn);
		}
	};`

func sessionCarriers(t *testing.T, vus int, load string) *carriers {
	c := newCarriers(t, vus, `base = "`+talker(t)+`"; tc.run({ scenario: "s", config: {}, sloMs: { ttft: 60000 } });`+load+holdScript)
	recordsTo(t, c.root)
	return c
}

func TestSession_TurnIsScheduledAfterTheOneBeforeAndItsWait(t *testing.T) {
	c := sessionCarriers(t, 2, `load = new tc.Levels("l", [{ name: "c8", concurrency: 8, requests: 20, warmupRequests: 0, sessions: true }]);`)
	c.all(`load.each(4, (slot) => hold(slot, 3, 25))`)
	_, lines := c.emitted("llm_requests")
	sessions := bySession(t, lines)
	require.Len(t, sessions, 20)
	ends := map[int64]bool{}
	for _, turns := range sessions {
		require.Len(t, turns, 3)
		ends[ns(turns[2], "endNs")] = true
	}
	refilled := 0
	for _, turns := range sessions {
		for k := 1; k < 3; k++ {
			require.Equal(t, ns(turns[k-1], "endNs")+25e6, ns(turns[k], "scheduledNs"), "no wait is queue delay")
			require.GreaterOrEqual(t, ns(turns[k], "sentNs"), ns(turns[k], "scheduledNs"))
		}
		require.Equal(t, turns[0]["index"], turns[2]["index"], "the index is the session's")
		if ends[ns(turns[0], "scheduledNs")] {
			refilled++
		}
	}
	require.Equal(t, 12, refilled, "a session begins when the one before it in its place has ended")
	l := c.root.current().Tally().Levels(clock.Now())[0]
	require.EqualValues(t, 60, l.Requests)
	require.EqualValues(t, &tally.SessionSummary{Sessions: 20, Completed: 20, Turns: 60, DurationMs: l.Sessions.DurationMs, TaskMs: l.Sessions.TaskMs, WaitMs: l.Sessions.WaitMs}, l.Sessions)
	require.InDelta(t, 50, l.Sessions.WaitMs.Mean, 1e-6)
	require.Greater(t, l.Sessions.DurationMs.Min, 50.0)
	require.EqualValues(t, 60, l.Sessions.TaskMs.Count, "each turn of a user's is a task")
	require.Len(t, l.Turns, 3)
	for k, turn := range l.Turns {
		require.Equal(t, []int64{int64(k + 1), 20, 20, 200, 80, 20}, []int64{int64(turn.Turn), turn.Requests, turn.Completed, turn.InputTokens, turn.CachedTokens, turn.TTFTMs.Count})
		require.InDelta(t, .4, *turn.CachedShare, 1e-9)
	}
	seconds := c.root.current().Tally().Seconds()
	scheduled := int64(0)
	for _, s := range seconds {
		scheduled += s.Scheduled
	}
	require.EqualValues(t, 60, scheduled, "a session is no request")
}

func TestSession_EndsWithAFailedTurn(t *testing.T) {
	c := sessionCarriers(t, 1, `load = new tc.Levels("l", [{ name: "c2", concurrency: 2, requests: 6, warmupRequests: 0, sessions: true }]);`)
	c.all(`load.each(2, (slot) => hold(slot, 4, 0, (slot, k) => slot.index % 2 === 1 && k === 1 ? "/fail" : ""))`)
	_, lines := c.emitted("llm_requests")
	lengths := map[int]int{}
	for _, turns := range bySession(t, lines) {
		lengths[len(turns)]++
	}
	require.Equal(t, map[int]int{4: 3, 2: 3}, lengths)
	s := c.root.current().Tally().Levels(clock.Now())[0].Sessions
	require.EqualValues(t, []int64{6, 3, 3, 0, 0, 18, 6}, []int64{s.Sessions, s.Completed, s.Failed, s.Abandoned, s.Cut, s.Turns, s.NotSent})
	require.EqualValues(t, 3, s.DurationMs.Count)
	require.Empty(t, unsentOf(c), "a session that ends early is no load that was not sent")
}

func TestSession_LevelIsBoundByTurns(t *testing.T) {
	c := sessionCarriers(t, 2, `load = new tc.Levels("l", [
		{ name: "a", concurrency: 4, turns: 21, warmupRequests: 2, sessions: true }, { name: "b", concurrency: 1, turns: 2, warmupRequests: 0, sessions: true }]);`)
	c.all(`load.each(2, (slot) => hold(slot, 5, 1))`)
	out := c.root.current().Tally().Levels(clock.Now())
	require.EqualValues(t, []int64{21, 10, 2, 0}, []int64{out[0].Requests, out[0].WarmupRequests, out[1].Requests, out[1].WarmupRequests},
		"turns are counted, and a warm-up counts sessions")
	s := out[0].Sessions
	require.Equal(t, s.Sessions, s.Completed+s.Cut)
	require.Equal(t, s.Sessions*5, s.Turns+s.NotSent)
	require.EqualValues(t, 21, s.Turns)
	require.EqualValues(t, 1, out[1].Sessions.Cut)
	require.Empty(t, unsentOf(c))
}

func TestSession_GoesOnFromTimedWarmUpIntoTheSteadyPart(t *testing.T) {
	c := sessionCarriers(t, 1, `load = new tc.Levels("l", [{ name: "c2", concurrency: 2, durationMs: 120, warmupMs: 60, sessions: true }]);`)
	c.all(`load.each(2, (slot) => hold(slot, 1000, 10))`)
	_, lines := c.emitted("llm_requests")
	l := c.root.current().Tally().Levels(clock.Now())[0]
	openNs, closeNs, _ := c.root.current().Tally().Window("c2")
	require.InDelta(t, .120, l.DurationS, 1e-9)
	phases := map[any]int{}
	for _, line := range lines {
		at := ns(line, "scheduledNs")
		phases[line["phase"]]++
		require.Equal(t, line["phase"] == "steady", at >= openNs, "%v", line)
		require.Less(t, at, closeNs, "nothing is due behind the end")
	}
	require.Positive(t, phases["warmup"])
	require.Positive(t, phases["steady"])
	require.Nil(t, l.Sessions, "both began in the warm-up, and are of it")
}

func TestSessionsArriveOnASchedule(t *testing.T) {
	c := sessionCarriers(t, 2, `load = new tc.Arrivals("a", { sessions: true, maxInFlight: 50, stages: [{ name: "r100", fromRate: 100, toRate: 100, durationMs: 100 }] });`)
	c.all(`load.each(25, (slot) => hold(slot, 2, 70))`)
	_, lines := c.emitted("llm_requests")
	openNs, closeNs, _ := c.root.current().Tally().Window("r100")
	firsts := 0
	for _, turns := range bySession(t, lines) {
		require.Len(t, turns, 2, "all turns are sent")
		require.Equal(t, openNs+int64(turns[0]["index"].(float64))*10e6, ns(turns[0], "scheduledNs"))
		firsts++
		for _, turn := range turns {
			require.Equal(t, turn["phase"] == "drain", ns(turn, "scheduledNs") >= closeNs, "%v", turn)
		}
	}
	require.Equal(t, 10, firsts)
	require.EqualValues(t, 10, c.root.current().Tally().Levels(clock.Now())[0].Sessions.Completed)
}

func TestSession_TraceEndsWithItsLastTurn(t *testing.T) {
	c := sessionCarriers(t, 1, `load = new tc.Arrivals("a", { sessions: true, maxInFlight: 50, traceMs: [0, 5], traceName: "trace" });`)
	c.all(`load.each(25, (slot) => hold(slot, 3, 20))`)
	_, lines := c.emitted("llm_requests")
	last := int64(0)
	for _, line := range lines {
		require.Equal(t, "steady", line["phase"])
		last = max(last, ns(line, "endNs"))
	}
	require.Len(t, lines, 6)
	_, closeNs, _ := c.root.current().Tally().Window("trace")
	require.Equal(t, last, closeNs)
}

func TestBranchesOfASessionRunBesideOneAnotherAndJoin(t *testing.T) {
	c := sessionCarriers(t, 1, `load = new tc.Levels("l", [{ name: "c1", concurrency: 1, requests: 1, warmupRequests: 0, sessions: true }]);`)
	c.all(`load.each(1, async (slot) => {
		const session = new tc.Session(slot);
		const send = async (options) => { const turn = await session.turn(options); await client.start({ body: "{}" }, turn); return turn; };
		const root = await send({});
		const [a, b] = await Promise.all([send({ after: [root], waitMs: 5, tool: true }), send({ after: [root], waitMs: 40, tool: true })]);
		await send({ after: [a, b], waitMs: 3, tool: true });
		await send({ notBeforeMs: 90 });
	})`)
	_, lines := c.emitted("llm_requests")
	var turns []map[string]any
	for _, s := range bySession(t, lines) {
		turns = s
	}
	require.Len(t, turns, 5)
	rootEnd := ns(turns[0], "endNs")
	require.Equal(t, []int64{rootEnd + 5e6, rootEnd + 40e6}, []int64{ns(turns[1], "scheduledNs"), ns(turns[2], "scheduledNs")})
	require.Equal(t, ns(turns[2], "endNs")+3e6, ns(turns[3], "scheduledNs"), "the join follows the later branch")
	require.Equal(t, max(ns(turns[0], "scheduledNs")+90e6, ns(turns[3], "endNs")), ns(turns[4], "scheduledNs"))
	require.Equal(t, []any{nil, true, true, true, nil}, []any{turns[0]["tool"], turns[1]["tool"], turns[2]["tool"], turns[3]["tool"], turns[4]["tool"]})
	s := c.root.current().Tally().Levels(clock.Now())[0].Sessions
	require.EqualValues(t, 2, s.TaskMs.Count)
	require.InDelta(t, float64(ns(turns[3], "endNs")-ns(turns[0], "scheduledNs"))/1e6, s.TaskMs.Max, 1e-6, "a task lasts until the tools are done")
}

func TestSession_AbandonedTurnIsNoFailure(t *testing.T) {
	c := sessionCarriers(t, 1, `load = new tc.Levels("l", [{ name: "c1", concurrency: 1, requests: 2, warmupRequests: 0, sessions: true }]);`)
	c.all(`load.each(1, async (slot) => {
		const session = new tc.Session(slot, 3);
		const first = await client.start({ body: "{}", headers: { "X-Session": session.id }, keepHeader: "x-token" }, await session.turn());
		if (first.header !== session.id) throw new Error("header " + first.header);
		const by = slot.index === 0 ? { abortAfterTokens: 2 } : { abortAfterMs: 30 };
		const result = await client.start({ body: "{}", url: base + "/hold", ...by }, await session.turn());
		if (result.failure !== "aborted") throw new Error(result.failure);
		if (await session.turn() !== null) throw new Error("a turn behind");
	})`)
	l := c.root.current().Tally().Levels(clock.Now())[0]
	require.EqualValues(t, []int64{4, 2, 0, 2}, []int64{l.Requests, l.Completed, l.Failed, l.Abandoned})
	require.EqualValues(t, 1, *l.GoodShare, "nobody was let down")
	s := l.Sessions
	require.EqualValues(t, []int64{2, 0, 0, 2, 0, 4, 2}, []int64{s.Sessions, s.Completed, s.Failed, s.Abandoned, s.Cut, s.Turns, s.NotSent})
	samples, _ := (&scriptVU{t: t, samples: c.samples}).emitted()
	for _, sample := range find(samples, "llm_request_failed") {
		require.Zero(t, sample.Value)
	}
	require.Len(t, find(samples, "llm_goodput"), 2)
}

func TestSessionsThatTheEndOfTheRunMeetsAreCut(t *testing.T) {
	c := sessionCarriers(t, 1, `load = new tc.Levels("l", [{ name: "c2", concurrency: 2, requests: 2, warmupRequests: 0, sessions: true }]);`)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.each(`load.each(2, (slot) => hold(slot, 2, 3_600_000))`)
	}()
	require.Eventually(t, func() bool { return c.root.current().Tally().Levels(clock.Now())[0].Completed == 2 }, 10*time.Second, time.Millisecond)
	c.cancel()
	<-ended
	s := c.root.current().Tally().Levels(clock.Now())[0].Sessions
	require.EqualValues(t, []int64{2, 0, 2, 2, 2}, []int64{s.Sessions, s.Completed, s.Cut, s.Turns, s.NotSent})
}

func TestSession_NeedsASlotOfSessions(t *testing.T) {
	const loads = `load = new tc.Levels("l", [{ name: "c1", concurrency: 1, requests: 1, warmupRequests: 0 }]);
		many = new tc.Levels("m", [{ name: "m1", concurrency: 1, requests: 1, warmupRequests: 0, sessions: true }]);`
	for script, message := range map[string]string{
		`load.each(1, (slot) => { new tc.Session(slot); })`:                                          "not one of a load of sessions",
		`many.each(1, (slot) => { new tc.Session(slot); new tc.Session(slot); })`:                    "has a session already",
		`new tc.Levels("x", [{ name: "x", concurrency: 1, turns: 3 }])`:                              "turns count in a level of sessions only",
		`new tc.Levels("y", [{ name: "y", concurrency: 1, turns: 3, requests: 2, sessions: true }])`: "or of sessions turns",
	} {
		require.ErrorContains(t, sessionCarriers(t, 1, loads).each(script)[0], message, script)
	}
}
