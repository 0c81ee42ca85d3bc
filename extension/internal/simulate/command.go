package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// NewCommand returns the command "simulate", which runs a server until SIGINT or SIGTERM. When the server listens it
// prints one line to the command's output: "simulate: listening on http://127.0.0.1:PORT".
func NewCommand() *cobra.Command {
	config := DefaultConfig()
	f := flags{ttft: "0", itl: "0", host: "127.0.0.1", port: 8000}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run a simulated LLM server that knows the truth about its timing",
		Long: `Run a simulated LLM server: OpenAI's chat, completions, responses and embeddings, Anthropic's messages, vLLM's
/tokenize, /metrics and /health, the token generator /tokenizer, /predict and /optimized_predict.

Tokens come from a simulated engine with continuous batching, or, with --ttft or --itl, on a schedule that each stream
has of its own. Durations are written 50ms; --ttft and --itl also take uniform:40ms,60ms, normal:50ms,5ms,
exponential:50ms and lognormal:50ms,0.3.

GET /truth tells what was really sent and when (?requests=0 only the percentiles, ?path=/v1/chat/completions of one
path); POST /reset forgets it.

--fault adds something that goes wrong, as name=value pairs or JSON, such as --fault status=429,share=0.1 or
--fault cut=20,cutHow=fin; share=0.1 befalls a tenth of the requests, drawn with the seed. A request can bring its own in
the field "simulate" of its body or the header X-Simulate.
Pace: stall (stallMs, catchUp), burst (oneWrite). Ending: refuse, status, cut (cutHow rst, fin, end), error (errorNoDone), each after so many tokens.
Shape: malformed, huge (hugeBytes), wide, split (write, chunk, event), lineEnd (crlf, cr), comments, emptyEvents,
tokensPerChunk, eventsPerChunk, roleWithFirst, contentLength, closeAfter, reasoning, toolCallTokens, outputTokens.
Tools: with tools in a request toolRounds=N answers with a call of the first one until N results stand behind the user's
last message; tool_choice "required" demands a call.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			if err := f.apply(cmd, &config); err != nil {
				return err
			}
			return run(cmd, config, f)
		},
	}
	f.define(cmd, &config)
	return cmd
}

// flags are the settings that need more than a place in Config.
type flags struct {
	ttft, itl        string
	host             string
	port             int
	listen           string
	faults           []string
	parent           int
	exitWithStdin    bool
	rate429, rate500 float64
	secretFile       string
}

func (f *flags) define(cmd *cobra.Command, c *Config) {
	fl := cmd.Flags()
	e := &c.Pacing.Engine
	fl.StringVar(&f.host, "host", f.host, "address to listen on; IPv6 as ::1")
	fl.IntVar(&f.port, "port", f.port, "TCP port; 0 = any free one")
	fl.StringVar(&f.listen, "listen", "", "listen there instead: HOST:PORT or unix:PATH")
	fl.BoolVar(&c.TLS, "tls", false, "speak TLS with a certificate made at the start, HTTP/2 included")
	fl.IntVar(&c.TLSTickets, "tls-tickets", 0, "session tickets sent right behind a TLS 1.3 handshake; servers on OpenSSL (uvicorn, nginx, Node) send 2")
	fl.BoolVar(&c.Portable, "portable-io", false, "use the I/O of systems without epoll: user-space times")
	fl.StringVar(&c.TruthSource, "truth-source", c.TruthSource, "where /truth has the times of sends from: ring (packets that left, needs CAP_NET_RAW), transmit (kernel transmit timestamps), user (the clock before the write), or auto, the first of them that can be had")
	fl.StringVar(&c.Model, "model", c.Model, "name of the served model")
	fl.IntVar(&c.MaxModelLen, "max-model-len", c.MaxModelLen, "context limit in tokens")
	fl.Uint64Var(&c.Seed, "seed", c.Seed, "of every random draw")

	fl.StringVar(&f.ttft, "ttft", f.ttft, "time to the first token; each stream on its own schedule instead of the engine")
	fl.StringVar(&f.itl, "itl", f.itl, "time from token to token; 0 = as fast as the socket takes them")
	fl.DurationVar(&c.Pacing.StallEvery, "stall-every", 0, "with --stall-for: the whole server stops sending so often, and sends what fell due meanwhile afterwards")
	fl.DurationVar(&c.Pacing.StallFor, "stall-for", 0, "how long it stops")
	fl.BoolVar(&c.Pacing.CatchUp, "catch-up", false, "a late stream sends all that is due at once, an event behind the other, instead of taking turns with others")
	fl.Float64Var(&c.Pacing.SlowDown, "slow-down", 0, "share by which all times to and between tokens grow with each second since the start, such as 0.01")
	fl.DurationVar(&c.Pacing.Tick, "tick", c.Pacing.Tick, "least time between two looks at the schedule when many streams are open")
	fl.IntVar(&c.EventsPerWrite, "events-per-write", c.EventsPerWrite, "events that an unpaced stream may put into one write")
	fl.IntVar(&c.NaturalOutputTokens, "natural-output-tokens", c.NaturalOutputTokens, "answers end by themselves at 0.5 to 1.5 times this length unless ignore_eos is set")

	fl.IntVar(&e.MaxSequences, "max-num-seqs", e.MaxSequences, "sequences that the engine computes at once")
	fl.IntVar(&e.Blocks, "num-gpu-blocks", e.Blocks, "blocks of the KV cache")
	fl.IntVar(&e.BlockSize, "block-size", e.BlockSize, "tokens a block")
	fl.IntVar(&e.BatchTokens, "max-num-batched-tokens", e.BatchTokens, "tokens that one step computes")
	fl.Float64Var(&e.PrefillRate, "prefill-rate", e.PrefillRate, "prompt tokens a second")
	fl.DurationVar(&e.StepTime, "step-time", e.StepTime, "of a step, whatever it holds")
	fl.DurationVar(&e.SequenceTime, "sequence-time", e.SequenceTime, "of a step for each sequence that it decodes")
	fl.BoolVar(&e.PrefixCache, "enable-prefix-caching", e.PrefixCache, "share and keep the KV blocks of prompts")
	fl.BoolVar(&c.PromptTokensDetails, "enable-prompt-tokens-details", false, "usage names the prompt tokens that the prefix cache had, where there are any")
	fl.BoolVar(&c.DevMode, "server-dev-mode", false, "serve POST /reset_prefix_cache")
	fl.BoolVar(&e.PrefillChunks, "enable-chunked-prefill", e.PrefillChunks, "compute long prompts over several steps")

	fl.StringVar(&f.secretFile, "client-secret-file", "", "file with the secret that POST /oauth/token gives keys for (client credentials grant); other requests then need such a key")
	fl.DurationVar(&c.KeyLifetime, "key-lifetime", 0, "how long such a key is valid; needs --client-secret-file")
	fl.BoolVar(&c.KeyUnstated, "key-lifetime-unstated", false, "the token endpoint does not say how long a key lives")

	fl.StringArrayVar(&f.faults, "fault", nil, "what goes wrong, name=value pairs or JSON; can be repeated")
	fl.Float64Var(&f.rate429, "rate-429", 0, "share of requests answered with 429")
	fl.Float64Var(&f.rate500, "rate-500", 0, "share of requests answered with 500")
	fl.IntVar(&c.MaxInFlight, "max-in-flight", 0, "answer 429 when so many requests are in flight; 0 = never")
	fl.DurationVar(&c.IdleTimeout, "idle-timeout", 0, "close idle connections after it (vLLM: 5s); 0 = never")
	fl.IntVar(&c.DieAfterRequests, "die-after-requests", 0, "die at the request with this number")
	fl.IntVar(&c.DieAfterTokens, "die-after-tokens", 0, "die after so many tokens")
	fl.StringVar(&c.DieHow, "die-how", c.DieHow, "process (exit status 3), listener (connections are reset) or engine (error events, then as listener)")
	fl.IntVar(&c.Reasoning, "reasoning", 0, "first tokens of an answer that are reasoning")
	fl.StringVar(&c.ReasoningField, "reasoning-field", c.ReasoningField, "field of reasoning in chat deltas: reasoning_content or reasoning")
	fl.IntVar(&c.ToolCallTokens, "tool-call-tokens", 0, "last tokens of an answer that are a tool call")
	fl.BoolVar(&c.GPUCacheName, "gpu-cache-name", false, "show the KV gauge under its older name vllm:gpu_cache_usage_perc, too")

	fl.IntVar(&c.EmbeddingDimensions, "embedding-dimensions", c.EmbeddingDimensions, "of an embedding")
	fl.DurationVar(&c.EmbeddingTime, "embedding-time", c.EmbeddingTime, "of a batch of embeddings, whatever it holds")
	fl.Float64Var(&c.EmbeddingTokenRate, "embedding-rate", c.EmbeddingTokenRate, "input tokens a second beyond that; 0 = no cost")
	fl.IntVar(&c.EmbeddingBatch, "embedding-batch", c.EmbeddingBatch, "inputs a batch")
	fl.IntVar(&c.TokenizerCap, "tokenizer-cap", c.TokenizerCap, "requests of /tokenizer in flight above which it answers 429; 0 = no cap")
	fl.DurationVar(&c.TokenizerTime, "tokenizer-time", 0, "that each reply of /tokenizer takes")
	fl.Float64Var(&c.TokenizerRate, "tokenizer-rate", 0, "output tokens a second of /tokenizer; 0 = at once")
	fl.IntVar(&c.PredictWorkers, "predict-workers", c.PredictWorkers, "workers of /predict")
	fl.DurationVar(&c.PredictTime, "predict-time", c.PredictTime, "of one prediction")
	fl.IntVar(&c.PredictQueue, "predict-queue", c.PredictQueue, "requests that may wait (times the batch size for /optimized_predict) before 503")
	fl.DurationVar(&c.PredictTimeout, "predict-timeout", c.PredictTimeout, "that a request may wait before 504")
	fl.IntVar(&c.PredictBatch, "predict-batch", c.PredictBatch, "largest batch of /optimized_predict")
	fl.DurationVar(&c.PredictBatchTime, "predict-batch-time", c.PredictBatchTime, "of one batch")

	fl.IntVar(&c.KeepRequests, "keep-requests", c.KeepRequests, "requests of which /truth keeps an entry")
	fl.IntVar(&c.KeepSends, "keep-sends", c.KeepSends, "tokens of which /truth keeps the time; beyond it only histograms grow")
	fl.IntVar(&f.parent, "parent-pid", 0, "end when this process is no longer the parent of this one")
	fl.BoolVar(&f.exitWithStdin, "exit-with-stdin", false, "end when the standard input ends")
}

// apply puts the flags that need work into the configuration.
func (f *flags) apply(cmd *cobra.Command, c *Config) error {
	c.Listen = net.JoinHostPort(f.host, strconv.Itoa(f.port))
	if f.listen != "" {
		c.Listen = f.listen
	}
	if cmd.Flags().Changed("ttft") || cmd.Flags().Changed("itl") {
		c.Pacing.Scheduled = true
		var err error
		if c.Pacing.TTFT, err = ParseDistribution(f.ttft); err != nil {
			return fmt.Errorf("--ttft: %w", err)
		}
		if c.Pacing.ITL, err = ParseDistribution(f.itl); err != nil {
			return fmt.Errorf("--itl: %w", err)
		}
	}
	if f.secretFile != "" {
		text, err := os.ReadFile(f.secretFile)
		if err != nil {
			return fmt.Errorf("--client-secret-file: %w", err)
		}
		if c.ClientSecret = strings.TrimSpace(string(text)); c.ClientSecret == "" {
			return fmt.Errorf("--client-secret-file=%s is empty", f.secretFile)
		}
		if c.KeyLifetime == 0 {
			c.KeyLifetime = time.Hour
		}
	}
	// In Config 0 stands for the default, but on the command line it is given on purpose.
	for _, n := range []*int{&c.KeepRequests, &c.KeepSends, &c.PredictQueue} {
		if *n == 0 {
			*n = -1
		}
	}
	for _, text := range f.faults {
		fault, err := ParseFault(text)
		if err != nil {
			return fmt.Errorf("--fault: %w", err)
		}
		c.Faults = append(c.Faults, fault)
	}
	for _, r := range []struct {
		status int
		share  float64
	}{{429, f.rate429}, {500, f.rate500}} {
		if r.share > 0 {
			c.Faults = append(c.Faults, Fault{Share: &r.share, Status: r.status})
		}
	}
	return nil
}

// run serves until a signal, the parent's end or the server's simulated death.
func run(cmd *cobra.Command, config Config, f flags) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config.OnDeath = func() { os.Exit(3) }
	server, err := Start(config)
	if err != nil {
		return err
	}
	defer server.Close()
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "simulate: listening on %s\n", server.URL); err != nil {
		return err
	}
	ended := make(chan struct{}, 1)
	if f.exitWithStdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			ended <- struct{}{}
		}()
	}
	orphan := time.NewTicker(500 * time.Millisecond)
	defer orphan.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return nil
		case <-orphan.C:
			if f.parent != 0 && os.Getppid() != f.parent {
				return errors.New("the parent process has ended")
			}
		}
	}
}

// launchArguments is the reply of /v1/launch_arguments.
func (c *Config) launchArguments() map[string]any {
	e := &c.Pacing.Engine
	return map[string]any{
		"application": "tokenclock", "model": c.Model, "model_name": c.Model, "max_model_len": c.MaxModelLen, "seed": c.Seed,
		"max_num_seqs": e.MaxSequences, "num_gpu_blocks": e.Blocks, "block_size": e.BlockSize,
		"max_num_batched_tokens": e.BatchTokens, "enable_prefix_caching": e.PrefixCache, "enable_chunked_prefill": e.PrefillChunks,
		"prefill_rate": e.PrefillRate, "step_time_ms": float64(e.StepTime) / 1e6, "sequence_time_ms": float64(e.SequenceTime) / 1e6,
		"scheduled": c.Pacing.Scheduled,
	}
}
