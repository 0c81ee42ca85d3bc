// Package calibrate is `k6 x tokenclock calibrate`: it measures the client's own error against the simulated server.
package calibrate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/errext/exitcodes"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/host"
	"github.com/tokenclock/tokenclock/extension/internal/process"
	"github.com/tokenclock/tokenclock/extension/internal/simulate"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
	"github.com/tokenclock/tokenclock/extension/internal/version"
)

// What a load must come to for the client to have measured the server and not itself.
const (
	trueTTFTMs = 1.0  // error of the mean TTFT
	trueITL    = 0.07 // relative error of the p99 of ITL
	trueShare  = 0.99 // of the load that was asked for
)

// load is what one trial asks of client and server.
type load struct {
	Streams  int
	TTFT     time.Duration // mean; drawn between 0.8 and 1.2 of it, so that streams do not march in step
	ITL      time.Duration
	Duration time.Duration
}

// tokens is the length of a request: some two seconds, and no longer than the trial.
func (l load) tokens() int {
	length := min(2*time.Second, l.Duration)
	return max(2, 1+int((length-l.TTFT)/l.ITL))
}

func (l load) requestTime() time.Duration {
	return l.TTFT + time.Duration(l.tokens()-1)*l.ITL
}

// rounds is how many requests a stream sends, one behind the other.
func (l load) rounds() int {
	return max(1, int((l.Duration+l.requestTime()/2)/l.requestTime()))
}

// trial is the outcome of one load: what the client measured beside what the server knows.
type trial struct {
	Streams         int         `json:"streams"`
	ITLMs           float64     `json:"itlMs"`
	Requests        int64       `json:"requests"`
	Failed          int64       `json:"failed"`
	Tokens          int64       `json:"tokens"`
	TTFTMs          tally.Stats `json:"ttftMs"`
	TrueTTFTMs      tally.Stats `json:"trueTtftMs"`
	MeasuredITLMs   tally.Stats `json:"measuredItlMs"`
	TrueITLMs       tally.Stats `json:"trueItlMs"`
	LoadShare       float64     `json:"loadShare"` // of the tokens/s asked for, by the server's count
	KernelShare     float64     `json:"kernelStampShare"`
	ReaderWaitShare float64     `json:"readerWaitShare"`
	CPUShare        float64     `json:"cpuShare"` // of the machine, the client alone
	Reasons         []string    `json:"reasons"`  // why it is not true; none: it is
}

// judge lists what keeps the trial from being true.
func (t *trial) judge() {
	t.Reasons = []string{}
	bad := func(format string, args ...any) { t.Reasons = append(t.Reasons, fmt.Sprintf(format, args...)) }
	if t.Failed > 0 {
		bad("%d of %d requests failed", t.Failed, t.Requests)
	}
	if t.LoadShare < trueShare {
		bad("%.1f %% of the load was delivered, at least %g %% must be", t.LoadShare*100, trueShare*100)
	}
	if e := t.TTFTMs.Mean - t.TrueTTFTMs.Mean; math.Abs(e) > trueTTFTMs {
		bad("the TTFT mean is %+.2f ms off, limit %g ms", e, trueTTFTMs)
	}
	if e := t.MeasuredITLMs.P99/t.TrueITLMs.P99 - 1; !(math.Abs(e) <= trueITL) {
		bad("the ITL p99 is %+.1f %% off, limit %g %%", e*100, trueITL*100)
	}
}

func (t *trial) ok() bool { return len(t.Reasons) == 0 }

// calibration is the output of --json.
type calibration struct {
	Trials []trial `json:"trials"`
	// LargestTrue is the most streams that were measured truly, 0 where none were; only with --search.
	LargestTrue *int `json:"largestTrue,omitempty"`
}

// NewCommand is `k6 x tokenclock calibrate`: how true are the figures of this client on this machine?
func NewCommand() *cobra.Command {
	l := load{Streams: 300, TTFT: 50 * time.Millisecond, ITL: 10 * time.Millisecond, Duration: 10 * time.Second}
	search, asJSON, most := false, false, 5000
	cmd := &cobra.Command{
		Use:   "calibrate",
		Short: "Measure the client's own error against the simulated server",
		Long: fmt.Sprintf(`Run the client against the simulated server in a process of its own on this machine and compare what it measured
with what the server really sent. Both share the machine, so a load that is measured truly here is no harder with the
server elsewhere.

The verdict is "true" when the mean TTFT is within %g ms of the truth, the p99 of ITL within %g %%, no request failed
and the server was asked for at least %g %% of the l. With --search the load is doubled and halved until the largest
one that is true is known within 15 %%. Exit code 98: not true.`, trueTTFTMs, trueITL*100, trueShare*100),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			if err := l.check(most); err != nil {
				return errext.WithExitCodeIfNone(err, exitcodes.InvalidConfig)
			}
			executable, err := os.Executable()
			if err != nil {
				return err
			}
			server := []string{executable, "x", "tokenclock", "simulate"}
			out, log := cmd.OutOrStdout(), cmd.ErrOrStderr()
			measure := func(l load) (trial, error) {
				_, _ = fmt.Fprintf(log, "calibrate: %d streams x %.4g tokens/s\n", l.Streams, float64(time.Second)/float64(l.ITL))
				return runTrial(cmd.Context(), server, l)
			}
			var c calibration
			if search {
				c, err = searchLargest(l, most, measure)
			} else {
				var t trial
				t, err = measure(l)
				c.Trials = []trial{t}
			}
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(out)
				e.SetIndent("", " ")
				err = e.Encode(c)
			} else {
				err = c.print(out)
			}
			if err == nil && (len(c.Trials) == 0 || c.LargestTrue == nil && !c.Trials[0].ok() || c.LargestTrue != nil && *c.LargestTrue == 0) {
				err = errext.WithExitCodeIfNone(errors.New("this machine measures this load with errors above the limits"), process.ExitNotValid)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&l.Streams, "streams", l.Streams, "streams open at once")
	f.DurationVar(&l.TTFT, "ttft", l.TTFT, "mean time to first token of the simulated server")
	f.DurationVar(&l.ITL, "itl", l.ITL, "time from token to token of the simulated server")
	f.DurationVar(&l.Duration, "duration", l.Duration, "of one trial")
	f.BoolVar(&search, "search", false, "look for the largest load that is measured truly, beginning with --streams")
	f.IntVar(&most, "most", most, "streams beyond which --search does not go")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (l load) check(most int) error {
	switch {
	case l.Streams < 1 || l.Streams > 20_000 || most < 1 || most > 20_000:
		return errors.New("--streams and --most must lie between 1 and 20000")
	case l.ITL < 100*time.Microsecond || l.ITL > 10*time.Second:
		return errors.New("--itl must lie between 100us and 10s")
	case l.TTFT < 0 || l.TTFT > 10*time.Second:
		return errors.New("--ttft must lie between 0s and 10s")
	case l.Duration < time.Second || l.Duration > 10*time.Minute:
		return errors.New("--duration must lie between 1s and 10m")
	}
	return host.CheckCapacity(max(l.Streams, 1))
}

// searchLargest doubles or halves the load until truth begins or ends, then halves the interval between. A load that
// was not true is tried once more: a neighbour's moment on the machine is not its limit.
func searchLargest(from load, most int, measure func(load) (trial, error)) (calibration, error) {
	var c calibration
	try := func(streams int) (bool, error) {
		for range 2 {
			l := from
			l.Streams = streams
			t, err := measure(l)
			if err != nil {
				return false, err
			}
			c.Trials = append(c.Trials, t)
			if t.ok() {
				return true, nil
			}
		}
		return false, nil
	}
	good, bad := 0, 0 // largest that was true, smallest that was not; 0 = none yet
	for streams := min(from.Streams, most); ; {
		ok, err := try(streams)
		if err != nil {
			return c, err
		}
		if ok {
			good = streams
		} else {
			bad = streams
		}
		switch {
		case bad == 0 && good == most, good == 0 && bad == 1:
		case bad == 0:
			streams = min(2*good, most)
			continue
		case good == 0:
			streams = bad / 2
			continue
		case float64(bad) > 1.15*float64(good) && bad-good > 1:
			streams = (good + bad) / 2
			continue
		}
		c.LargestTrue = &good
		return c, nil
	}
}

// runTrial starts a server of its own with the given command, loads it, and compares.
func runTrial(ctx context.Context, server []string, l load) (trial, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*l.Duration+30*time.Second)
	defer cancel()
	ttft := fmt.Sprintf("uniform:%s,%s", l.TTFT*8/10, l.TTFT*12/10)
	args := append(server[1:len(server):len(server)], "--port", "0", "--ttft", ttft, "--itl", l.ITL.String(), "--exit-with-stdin")
	cmd := exec.CommandContext(ctx, server[0], args...)
	cmd.Env = append(os.Environ(), "K6_AUTO_EXTENSION_RESOLUTION=false", "K6_NO_USAGE_REPORT=true")
	stdin, err := cmd.StdinPipe() // its end ends the server, also when this process is killed
	if err != nil {
		return trial{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return trial{}, err
	}
	if err := cmd.Start(); err != nil {
		return trial{}, fmt.Errorf("the simulated server could not be started: %w", err)
	}
	defer func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if _, url, found := strings.Cut(lines.Text(), "listening on "); found {
			return measureTrial(ctx, url, l)
		}
	}
	return trial{}, errors.New("the simulated server ended before it listened")
}

// measureTrial loads the server at url and compares what was measured with GET /truth.
func measureTrial(ctx context.Context, url string, l load) (trial, error) {
	engine, err := client.New(client.Options{
		URL: url + "/v1/chat/completions", UserAgent: version.UserAgent, TimeoutNs: int64(3*l.Duration + 10*time.Second),
		Stream: stream.Options{API: stream.Chat}, Streamed: true,
		Dial: func(ctx context.Context, network, address string) (client.Counted, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return client.Counted{Conn: conn}, err
		},
	})
	if err != nil {
		return trial{}, err
	}
	defer engine.CloseIdle()

	tokens := l.tokens()
	request := &client.Request{
		Body: fmt.Appendf(nil, `{"model":"simulated","messages":[{"role":"user","content":"Count."}],"max_tokens":%d,`+
			`"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}`, tokens),
		ExpectedOutputTokens: tokens,
	}
	prepared := engine.PrepareAll(ctx, slices.Repeat([]*client.Request{request}, l.Streams))
	waitedBefore, _ := client.ReaderWaitedNs()
	cpuBefore, beganNs := host.CPUNs(), clock.Now()

	type end struct {
		stream int
		m      *client.Measurement
	}
	ends := make(chan end, l.Streams) // a stream has one request at a time, so no sender ever waits
	send := func(k int, p client.Prepared) {
		p.Send(ctx, func(m *client.Measurement) { ends <- end{k, m} })
	}
	for k, p := range prepared {
		send(k, p)
	}
	run := tally.NewRun(tally.SLO{})
	left := make([]int, l.Streams)
	for k := range left {
		left[k] = l.rounds() - 1
	}
	for open := l.Streams; open > 0; {
		e := <-ends
		run.Add(&tally.Observation{
			Phase: tally.Steady, ScheduledNs: e.m.StartedNs, StartedNs: e.m.StartedNs, SentNs: e.m.SentNs,
			SentUncertaintyNs: e.m.SentUncertaintyNs, SentKernel: e.m.SentKernel, RingReceives: e.m.RingReceives, KernelReceives: e.m.KernelReceives,
			UserReceives: e.m.UserReceives, Retries: e.m.Retries, Streamed: e.m.Streamed, Result: e.m.Result,
		})
		failed := e.m.Failure != stream.None
		e.m.Release()
		if left[e.stream] == 0 || failed {
			open--
			continue
		}
		left[e.stream]--
		send(e.stream, engine.Prepare(ctx, request))
	}
	wallNs := clock.Now() - beganNs
	truth, err := fetchTruth(ctx, url)
	if err != nil {
		return trial{}, err
	}
	total := run.Total(clock.Now())
	waited, _ := client.ReaderWaitedNs()
	t := trial{
		Streams: l.Streams, ITLMs: float64(l.ITL) / 1e6, Requests: total.Requests, Failed: total.Failed, Tokens: total.OutputTokens,
		TTFTMs: total.TTFTMs, TrueTTFTMs: tally.Stats(truth.TTFTMs), MeasuredITLMs: total.ITLMs, TrueITLMs: tally.Stats(truth.ITLMs),
		KernelShare: total.KernelStampShare, CPUShare: float64(host.CPUNs()-cpuBefore) / float64(wallNs) / float64(runtime.NumCPU()),
	}
	t.ReaderWaitShare = float64(waited-waitedBefore) / float64(wallNs)
	if truth.WindowS > 0 {
		scheduled := float64(l.Streams*tokens) / l.requestTime().Seconds()
		t.LoadShare = float64(truth.OutputTokens) / truth.WindowS / scheduled
	}
	t.judge()
	return t, nil
}

func fetchTruth(ctx context.Context, url string) (*simulate.Report, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/truth?requests=0", nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	reply, err := transport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("the simulated server does not tell the truth: %w", err)
	}
	defer func() { _ = reply.Body.Close() }()
	truth := &simulate.Report{}
	if err := json.NewDecoder(reply.Body).Decode(truth); err != nil {
		return nil, fmt.Errorf("the simulated server's truth cannot be read: %w", err)
	}
	return truth, nil
}

// print writes one trial as a table of its figures, or several as a line each.
func (c *calibration) print(w io.Writer) error {
	if c.LargestTrue == nil {
		for i := range c.Trials {
			if err := c.Trials[i].print(w); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) }
	p("streams\ttokens/s\tload\tTTFT mean\ttrue\tITL p50\ttrue\tITL p99\ttrue\tverdict\t\n")
	for i := range c.Trials {
		x := &c.Trials[i]
		verdict := "true"
		if !x.ok() {
			verdict = "NOT TRUE"
		}
		p("%d\t%.0f\t%.1f %%\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f ms\t%s\t\n", x.Streams, float64(x.Streams)*1000/x.ITLMs, x.LoadShare*100,
			x.TTFTMs.Mean, x.TrueTTFTMs.Mean, x.MeasuredITLMs.P50, x.TrueITLMs.P50, x.MeasuredITLMs.P99, x.TrueITLMs.P99, verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "largest load that this machine measures truly: %d streams x %.4g tokens/s\n", *c.LargestTrue, 1000/c.Trials[0].ITLMs)
	return err
}

func (x *trial) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) }
	p("\tclient\ttruth\terror\t\n")
	for _, row := range []struct {
		name     string
		got, say float64
		relative bool
	}{
		{"TTFT mean", x.TTFTMs.Mean, x.TrueTTFTMs.Mean, false}, {"TTFT p50", x.TTFTMs.P50, x.TrueTTFTMs.P50, false},
		{"TTFT p99", x.TTFTMs.P99, x.TrueTTFTMs.P99, false}, {"ITL p50", x.MeasuredITLMs.P50, x.TrueITLMs.P50, true},
		{"ITL p90", x.MeasuredITLMs.P90, x.TrueITLMs.P90, true}, {"ITL p99", x.MeasuredITLMs.P99, x.TrueITLMs.P99, true},
	} {
		if row.relative {
			p("%s\t%.3f ms\t%.3f ms\t%+.2f %%\t\n", row.name, row.got, row.say, (row.got/row.say-1)*100)
		} else {
			p("%s\t%.3f ms\t%.3f ms\t%+.3f ms\t\n", row.name, row.got, row.say, row.got-row.say)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d streams, %d requests, %d tokens, %.1f %% of the load; %.1f %% kernel stamps, %.2f %% of the time the reader waited for a core; the client used %.0f %% of the machine\n",
		x.Streams, x.Requests, x.Tokens, x.LoadShare*100, x.KernelShare*100, x.ReaderWaitShare*100, x.CPUShare*100)
	if err != nil {
		return err
	}
	if x.ok() {
		_, err = fmt.Fprintf(w, "true: this machine measures this load (TTFT mean within %g ms, ITL p99 within %g %%, load at least %g %%)\n", trueTTFTMs, trueITL*100, trueShare*100)
	} else {
		_, err = fmt.Fprintf(w, "NOT TRUE: %s\n", strings.Join(x.Reasons, "; "))
	}
	return err
}
