package simulate

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Config says what kind of server is simulated. A field left zero stands for its default where DefaultConfig has one;
// NewCommand describes the same settings as flags.
type Config struct {
	Listen      string // TCP address "host:port" (port 0 = any free one), or "unix:PATH"
	TLS         bool   // speak TLS with a certificate made at the start; HTTP/2 is offered by ALPN
	TLSTickets  int    // session tickets sent right behind a TLS 1.3 handshake, as OpenSSL's servers do (2)
	Portable    bool   // use goroutines and Go's net package for I/O even where a faster way exists; stamps are then user-space times
	TruthSource string // where the times of sends are from: "ring", "transmit", "user", or "auto", the first of them that can be had
	Model       string // name of the served model
	MaxModelLen int    // context limit in tokens, prompt and output together
	Seed        uint64 // of every random draw: lengths, jitter, fault shares, texts

	// ClientSecret is what POST /oauth/token gives keys for; every other request but those of /health, /metrics, /truth and
	// /reset then needs a key that is not older than KeyLifetime. "" = no key is asked for.
	ClientSecret string
	KeyLifetime  time.Duration
	KeyUnstated  bool // the token endpoint does not say how long a key lives

	Pacing Pacing // when tokens come
	Predict
	Tokenizer
	Embeddings

	NaturalOutputTokens int // length around which an answer ends by itself unless ignore_eos is set
	EventsPerWrite      int // tokens that an unpaced stream (ITL 0) may put into one write; 1 = a write each
	Reasoning           int // first tokens of a chat answer that are reasoning
	ReasoningField      string
	ToolCallTokens      int           // last tokens of a chat answer that are arguments of a tool call
	MaxInFlight         int           // generation requests above it are answered with 429; 0 = no cap
	IdleTimeout         time.Duration // an idle connection is closed after it; 0 = never
	PromptTokensDetails bool          // usage names the prompt tokens that the prefix cache had, where there are any, as vLLM's does on request
	DevMode             bool          // POST /reset_prefix_cache is served, as in vLLM's development mode
	GPUCacheName        bool          // the KV gauge is called vllm:gpu_cache_usage_perc, as old vLLM versions do, too
	Faults              []Fault       // applied to each generation request in this order

	DieAfterRequests int    // the server dies when it received so many generation requests; 0 = never
	DieAfterTokens   int    // or when it sent so many tokens
	DieHow           string // "process", "listener" or "engine", see fault.go
	OnDeath          func() // called when the whole process should die; nil closes the server instead

	KeepRequests int // first requests of which the truth keeps an entry; the others are in histograms only; negative = none
	KeepSends    int // writes of tokens of which the truth keeps the time; negative = none
	SlowReader   int // bytes that may wait for a client that does not read before its connection is reset
}

// Pacing decides when tokens are sent: either every stream on a schedule of its own (TTFT and ITL set), or by a
// simulated engine with continuous batching.
type Pacing struct {
	Scheduled bool         // true: TTFT and ITL below; false: Engine
	TTFT      Distribution // from the request's begin to its first token
	ITL       Distribution // from token to token; always 0 = as fast as the socket takes them
	// Every StallEvery the whole server stops sending for StallFor; what falls due meanwhile goes out afterwards.
	StallEvery, StallFor time.Duration
	// CatchUp has a stream that is late send all that is due at once, an event behind the other. Else late streams take turns
	// in the order of their deadlines.
	CatchUp bool
	Tick    time.Duration
	// SlowDown is by how much, as a share, all times grow with each second since the server's start: 0.01 doubles them in 100 s.
	SlowDown float64
	Engine   EngineConfig
}

// slowed returns a time as it is so long after the server's start.
func (p *Pacing) slowed(ns, sinceStartNs int64) int64 {
	if p.SlowDown == 0 {
		return ns
	}
	return int64(float64(ns) * (1 + p.SlowDown*float64(sinceStartNs)/1e9))
}

// Predict configures /predict and /optimized_predict.
type Predict struct {
	PredictWorkers   int
	PredictTime      time.Duration // one prediction on one worker
	PredictQueue     int           // requests that may wait (times the batch size); more are answered with 503; negative = none
	PredictTimeout   time.Duration // a request that waited longer is answered with 504
	PredictBatch     int           // largest batch of /optimized_predict
	PredictBatchTime time.Duration
}

// Tokenizer configures /tokenizer.
type Tokenizer struct {
	TokenizerCap  int           // requests in flight above it are answered with 429; 0 = no cap
	TokenizerTime time.Duration // each reply takes at least so long
	TokenizerRate float64       // and output tokens / rate seconds more; 0 = at once
}

// Embeddings configures /v1/embeddings.
type Embeddings struct {
	EmbeddingDimensions int
	EmbeddingTime       time.Duration // of one batch, whatever it holds
	EmbeddingTokenRate  float64       // input tokens/s beyond that; 0 = no cost
	EmbeddingBatch      int           // inputs that one batch holds
}

// DefaultConfig is what a bare `simulate` command runs: a small model on one accelerator.
func DefaultConfig() Config {
	return Config{
		Listen:              "127.0.0.1:0",
		TruthSource:         truthSourceAuto,
		Model:               "simulated",
		MaxModelLen:         8192,
		Seed:                1,
		Pacing:              Pacing{Tick: 200 * time.Microsecond, Engine: DefaultEngineConfig()},
		Predict:             Predict{12, 11 * time.Millisecond, 256, time.Second, 200, 13 * time.Millisecond},
		Tokenizer:           Tokenizer{TokenizerCap: 64},
		Embeddings:          Embeddings{384, 2 * time.Millisecond, 200_000, 64},
		NaturalOutputTokens: 128,
		EventsPerWrite:      1,
		ReasoningField:      "reasoning_content",
		DieHow:              DieProcess,
		KeepRequests:        200_000,
		KeepSends:           4_000_000,
		SlowReader:          64 << 20,
	}
}

// withDefaults fills what was left zero and refuses what cannot be simulated.
func (c Config) withDefaults() (Config, error) {
	d := DefaultConfig()
	setDefault(&c.Listen, d.Listen)
	setDefault(&c.TruthSource, d.TruthSource)
	setDefault(&c.Model, d.Model)
	setDefault(&c.MaxModelLen, d.MaxModelLen)
	setDefault(&c.Seed, d.Seed)
	setDefault(&c.Pacing.Tick, d.Pacing.Tick)
	setDefault(&c.PredictWorkers, d.PredictWorkers)
	setDefault(&c.PredictTime, d.PredictTime)
	setDefault(&c.PredictQueue, d.PredictQueue)
	setDefault(&c.PredictTimeout, d.PredictTimeout)
	setDefault(&c.PredictBatch, d.PredictBatch)
	setDefault(&c.PredictBatchTime, d.PredictBatchTime)
	setDefault(&c.EmbeddingDimensions, d.EmbeddingDimensions)
	setDefault(&c.EmbeddingBatch, d.EmbeddingBatch)
	setDefault(&c.NaturalOutputTokens, d.NaturalOutputTokens)
	setDefault(&c.EventsPerWrite, d.EventsPerWrite)
	setDefault(&c.ReasoningField, d.ReasoningField)
	setDefault(&c.DieHow, d.DieHow)
	setDefault(&c.KeepRequests, d.KeepRequests)
	setDefault(&c.KeepSends, d.KeepSends)
	setDefault(&c.SlowReader, d.SlowReader)
	if c.Pacing.Engine == (EngineConfig{}) {
		c.Pacing.Engine = d.Pacing.Engine
	}
	switch p := c.Pacing; {
	case p.StallEvery == 0 && p.StallFor == 0:
	case p.StallFor <= 0 || p.StallEvery <= p.StallFor:
		return c, fmt.Errorf("stalls of %s every %s: both must be positive, and a stall shorter than the time from one to the next", p.StallFor, p.StallEvery)
	case !p.Scheduled:
		return c, errors.New("stalls need tokens on a schedule: set the time to the first token or between tokens")
	}
	if !(c.Pacing.SlowDown >= 0) || math.IsInf(c.Pacing.SlowDown, 0) {
		return c, fmt.Errorf("slow-down %v: it must be 0 or more", c.Pacing.SlowDown)
	}
	if c.Pacing.CatchUp && !c.Pacing.Scheduled {
		return c, errors.New("catching up needs tokens on a schedule: set the time to the first token or between tokens")
	}
	if !c.Pacing.Scheduled {
		if err := c.Pacing.Engine.validate(c.MaxModelLen); err != nil {
			return c, err
		}
	}
	if c.ClientSecret == "" && (c.KeyLifetime != 0 || c.KeyUnstated) {
		return c, errors.New("keys that expire need a client secret")
	}
	if c.ClientSecret != "" && c.KeyLifetime <= 0 {
		return c, fmt.Errorf("key lifetime %s: it must be longer than 0", c.KeyLifetime)
	}
	if c.ReasoningField != "reasoning_content" && c.ReasoningField != "reasoning" {
		return c, fmt.Errorf("reasoning field %q: use reasoning_content or reasoning", c.ReasoningField)
	}
	if c.TLSTickets < 0 || c.TLSTickets > 16 || c.TLSTickets > 0 && !c.TLS {
		return c, fmt.Errorf("TLS tickets %d: from 0 to 16, and only with TLS", c.TLSTickets)
	}
	switch c.TruthSource {
	case truthSourceAuto, sourceRing.String(), sourceTransmit.String(), sourceUser.String():
	default:
		return c, fmt.Errorf("truth source %q: use %s, %s, %s or %s", c.TruthSource, truthSourceAuto, sourceRing, sourceTransmit, sourceUser)
	}
	if c.DieHow != DieProcess && c.DieHow != DieListener && c.DieHow != DieEngine {
		return c, fmt.Errorf("die how %q: use %s, %s or %s", c.DieHow, DieProcess, DieListener, DieEngine)
	}
	if c.MaxModelLen < 2 || c.EmbeddingDimensions < 1 || c.PredictWorkers < 1 || c.PredictBatch < 1 {
		return c, errors.New("lengths, dimensions, workers and batch sizes must be positive")
	}
	for i := range c.Faults {
		if err := c.Faults[i].validate(); err != nil {
			return c, err
		}
	}
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
