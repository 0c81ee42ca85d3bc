package simulate

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = int64(time.Millisecond)

// testEngine has round numbers: a step takes 10 ms, 1 ms more for each decode, and 1 ms for each prompt token.
func testEngine() EngineConfig {
	return EngineConfig{
		MaxSequences: 4, Blocks: 100, BlockSize: 16, BatchTokens: 64, PrefillRate: 1000,
		StepTime: 10 * time.Millisecond, SequenceTime: time.Millisecond, PrefillChunks: true,
	}
}

// token is one token that the scheduler gave out, in ms.
type token struct {
	seq int
	at  int64
}

// play submits sequences in order of arrival and lets the scheduler run to the end; lateMs is by how much each look at
// it comes after its deadline.
func play(t *testing.T, s *scheduler, seqs []*sequence, lateMs int64) []token {
	var tokens []token
	index := map[*sequence]int{}
	for i, q := range seqs {
		index[q] = i
	}
	next := 0
	for range 100_000 {
		deadline := s.nextNs()
		if next < len(seqs) && seqs[next].arrivedNs <= deadline {
			s.submit(seqs[next])
			next++
			continue
		}
		if deadline == never {
			require.Zero(t, s.cache.held, "all blocks are given back")
			require.Empty(t, s.running)
			require.Empty(t, s.waiting)
			return tokens
		}
		s.advance(deadline+lateMs*ms, func(q *sequence, atNs int64) { tokens = append(tokens, token{index[q], atNs / ms}) })
		require.LessOrEqual(t, s.cache.held+s.cache.idle.Len(), s.cache.blocks)
		require.LessOrEqual(t, len(s.running), s.config.MaxSequences)
	}
	t.Fatal("the scheduler does not come to an end")
	return nil
}

func seq(arrivedMs int64, promptTokens, target int) *sequence {
	return &sequence{arrivedNs: arrivedMs * ms, prompt: prompt{tokens: promptTokens}, target: target}
}

func times(tokens []token, seq int) []int64 {
	var out []int64
	for _, k := range tokens {
		if k.seq == seq {
			out = append(out, k.at)
		}
	}
	return out
}

// One sequence: a prefill step of 10 + 20 ms, then decode steps of 11 ms.
func TestEngineAlone(t *testing.T) {
	tokens := play(t, newScheduler(testEngine()), []*sequence{seq(5, 20, 4)}, 0)
	require.Equal(t, []int64{35, 46, 57, 68}, times(tokens, 0))
}

// Times are those of the plan, however late the loop looks: lateness does not accumulate.
func TestEngineDeadlinesAreAbsolute(t *testing.T) {
	make := func() []*sequence { return []*sequence{seq(5, 20, 30), seq(6, 10, 30), seq(50, 100, 5)} }
	punctual := play(t, newScheduler(testEngine()), make(), 0)
	require.Equal(t, punctual, play(t, newScheduler(testEngine()), make(), 7))
	require.Equal(t, punctual, play(t, newScheduler(testEngine()), make(), 500))
}

// A prompt longer than a step's budget is computed in parts while the other sequence goes on decoding, at the price of
// longer steps.
func TestEngineChunkedPrefillSharesSteps(t *testing.T) {
	tokens := play(t, newScheduler(testEngine()), []*sequence{seq(0, 4, 6), seq(1, 100, 1)}, 0)
	// Step 1: prompt of 4 (14 ms). Step 2: one decode and 63 of 100 (10+1+63 = 74). Step 3: one decode and 37 (48).
	require.Equal(t, []int64{14, 88, 136, 147, 158, 169}, times(tokens, 0))
	require.Equal(t, []int64{136}, times(tokens, 1))
}

// Without chunks the prompt waits for a step that can hold it whole.
func TestEngineWithoutChunks(t *testing.T) {
	config := testEngine()
	config.PrefillChunks = false
	tokens := play(t, newScheduler(config), []*sequence{seq(0, 4, 3), seq(1, 64, 1)}, 0)
	require.Equal(t, []int64{14, 25, 36}, times(tokens, 0))
	require.Equal(t, []int64{110}, times(tokens, 1), "36 + 10 + 64")
}

// No more than S sequences run; the others come in order of arrival as places become free.
func TestEngineFirstComeFirstServed(t *testing.T) {
	var seqs []*sequence
	for i := range 12 {
		seqs = append(seqs, seq(int64(i), 2, 3))
	}
	s := newScheduler(testEngine())
	tokens := play(t, s, seqs, 0)
	require.Len(t, tokens, 36)
	last := int64(0)
	for i := range seqs {
		first := times(tokens, i)[0]
		require.GreaterOrEqual(t, first, last, "sequence %d", i)
		last = first
	}
	require.GreaterOrEqual(t, times(tokens, 4)[0], times(tokens, 0)[2], "the fifth waits for a place")
	require.Zero(t, s.preemptions)
}

// Two sequences of 2 + 2 blocks in a cache of 3: the newer one loses its place when the older one grows, computes its
// 17 tokens again, and both end with as many tokens as they wanted.
func TestEnginePreemptsNewest(t *testing.T) {
	config := testEngine()
	config.Blocks = 3
	s := newScheduler(config)
	tokens := play(t, s, []*sequence{seq(0, 16, 20), seq(0, 15, 20)}, 0)
	require.Len(t, times(tokens, 0), 20)
	require.Len(t, times(tokens, 1), 20)
	require.EqualValues(t, 1, s.preemptions)
	old, newer := times(tokens, 0), times(tokens, 1)
	require.Greater(t, newer[19], old[19])
	// The newer one stood still from its preemption until the older one gave its blocks back.
	gap := int64(0)
	for i := 1; i < len(newer); i++ {
		gap = max(gap, newer[i]-newer[i-1])
	}
	require.Greater(t, gap, int64(100))
}

// Random loads with a small cache come to an end, with every token and no block lost.
func TestEngineRandomLoads(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	preemptions := int64(0)
	for range 200 {
		config := testEngine()
		config.Blocks = 8 + rng.IntN(20)
		config.PrefixCache = rng.IntN(2) == 0
		s := newScheduler(config)
		var seqs []*sequence
		want, at := 0, int64(0)
		for range 1 + rng.IntN(20) {
			at += rng.Int64N(40)
			q := seq(at, 1+rng.IntN(64), 1+rng.IntN(60))
			for b := range q.prompt.tokens / 16 {
				q.prompt.blocks = append(q.prompt.blocks, uint64(rng.IntN(2)*1000+b))
			}
			want += q.target
			seqs = append(seqs, q)
		}
		require.Len(t, play(t, s, seqs, rng.Int64N(30)), want)
		preemptions += s.preemptions
	}
	require.Positive(t, preemptions)
}

// The second prompt's first 32 of 40 tokens are in the cache: it computes 8.
func TestEnginePrefixCache(t *testing.T) {
	config := testEngine()
	config.PrefixCache = true
	s := newScheduler(config)
	first, second := seq(0, 40, 1), seq(1000, 40, 1)
	first.prompt.blocks, second.prompt.blocks = []uint64{1, 2}, []uint64{1, 2}
	tokens := play(t, s, []*sequence{first, second}, 0)
	require.Equal(t, []int64{50}, times(tokens, 0))
	require.Equal(t, []int64{1018}, times(tokens, 1))
	require.EqualValues(t, 80, s.cacheQueries)
	require.EqualValues(t, 32, s.cacheHits)
	require.Equal(t, 32, second.cached)
	s.cache.clearIdle()
	require.Empty(t, s.cache.shared)
}

// A full prefix cache gives up the block that was used longest ago, and of one prompt its end before its beginning: what is
// left of a prompt must still be found from its first block on.
func TestEnginePrefixCacheEvicts(t *testing.T) {
	config := testEngine()
	config.PrefixCache, config.Blocks = true, 5
	s := newScheduler(config)
	prompt := func(at int64, blocks ...uint64) *sequence {
		q := seq(at, 16*len(blocks)+1, 1)
		q.prompt.blocks = blocks
		return q
	}
	old, recent, fresh := prompt(0, 1, 2), prompt(1000, 3), prompt(2000, 4, 5, 6)
	play(t, s, []*sequence{old, recent, fresh}, 0)
	// The third prompt needs 4 of 5 blocks, so 2 of the 3 that were kept had to go: block 2 first, then block 1.
	require.NotContains(t, s.cache.shared, uint64(2))
	require.NotContains(t, s.cache.shared, uint64(1))
	require.Contains(t, s.cache.shared, uint64(3))
	play(t, s, []*sequence{prompt(3000, 3)}, 0)
	require.EqualValues(t, 16, s.cacheHits)

	s = newScheduler(config)
	play(t, s, []*sequence{prompt(0, 1, 2, 3), prompt(1000, 9, 9, 9)}, 0)
	require.Contains(t, s.cache.shared, uint64(1), "the beginning outlives the end")
	require.NotContains(t, s.cache.shared, uint64(3))
}

// A sequence that lost its place looks up its prompt again when it comes back; the counters know it from its first look-up.
func TestEngineCountsAPreemptedPromptOnce(t *testing.T) {
	config := testEngine()
	config.Blocks, config.PrefixCache = 3, true
	s := newScheduler(config)
	a, b := seq(0, 16, 20), seq(0, 15, 20)
	a.prompt.blocks = []uint64{1}
	play(t, s, []*sequence{a, b}, 0)
	require.EqualValues(t, 1, s.preemptions)
	require.EqualValues(t, 31, s.cacheQueries)
	require.Zero(t, s.cacheHits)
}

// A cancelled sequence gives back its blocks, running or waiting.
func TestEngineCancel(t *testing.T) {
	config := testEngine()
	config.MaxSequences = 1
	s := newScheduler(config)
	a, b, c := seq(0, 16, 10), seq(0, 16, 10), seq(0, 16, 1)
	for _, q := range []*sequence{a, b, c} {
		s.submit(q)
	}
	s.cancel(b)
	s.cancel(a)
	s.cancel(a)
	require.Zero(t, s.cache.held)
	var got []*sequence
	for s.advance(s.nextNs(), func(q *sequence, _ int64) { got = append(got, q) }) {
	}
	require.Equal(t, []*sequence{c}, got)
	require.Zero(t, s.cache.held)
}

func TestEngineRefusesWhatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*EngineConfig){
		"no sequences":           func(e *EngineConfig) { e.MaxSequences = 0 },
		"cache below a context":  func(e *EngineConfig) { e.Blocks = 10 },
		"no room for decodes":    func(e *EngineConfig) { e.BatchTokens = 3 },
		"prompts that fit never": func(e *EngineConfig) { e.PrefillChunks = false },
		"no prefill":             func(e *EngineConfig) { e.PrefillRate = 0 },
	} {
		config := testEngine()
		change(&config)
		require.Error(t, config.validate(1600), name)
	}
	config := testEngine()
	require.NoError(t, config.validate(1600))
}
