package coordinate

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func config(t *testing.T, runners int) Config {
	return Config{
		Runners: runners, Dir: t.TempDir(), Lead: 20 * time.Millisecond, WaitFor: time.Minute, MeetWithin: time.Minute,
		LostAfter: 20 * time.Second, MaxOffset: time.Second, MaxUncertainty: 5 * time.Second,
	}
}

// bed is a coordinator with its end: Wait's reason.
type bed struct {
	s      *Server
	http   *httptest.Server
	reason chan string
}

func serve(t *testing.T, c Config) *bed {
	t.Helper()
	s, err := NewServer(c)
	require.NoError(t, err)
	b := &bed{s: s, http: httptest.NewServer(s.Handler()), reason: make(chan string, 1)}
	t.Cleanup(b.http.Close)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { b.reason <- s.Wait(ctx) }()
	return b
}

func (b *bed) ended(t *testing.T) string {
	t.Helper()
	select {
	case reason := <-b.reason:
		return reason
	case <-time.After(30 * time.Second):
		t.Fatal("the coordinator waits for ever")
		return ""
	}
}

// open makes a runner whose wall clock is `off` ahead of the coordinator's.
func (b *bed) open(t *testing.T, off time.Duration) *Runner {
	t.Helper()
	zero := time.Now()
	r, err := Open(t.Context(), Options{
		Address: b.http.URL, Now: func() int64 { return int64(time.Since(zero)) + 1 }, StartUnixNs: zero.Add(off).UnixNano(), Patience: 5 * time.Second,
	})
	require.NoError(t, err)
	return r
}

func facts() Facts {
	return Facts{Scenario: "sweep", Build: "b1", Settings: map[string]any{"REQUESTS": 12}}
}

// runners opens and registers all runners of a run.
func (b *bed) runners(t *testing.T, n int) []*Runner {
	t.Helper()
	all := make([]*Runner, n)
	for k := range all {
		all[k] = b.open(t, 0)
		require.NoError(t, all[k].Register(t.Context(), k+1, n, facts()))
	}
	return all
}

func held(t *testing.T, b *bed, part int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.s.c.Dir, PartFolder(part), recordsName))
	require.NoError(t, err)
	return string(text)
}

func TestCoordinator_RunnersMeetAndTheirRecordsArriveWhole(t *testing.T) {
	b := serve(t, config(t, 3))
	all := b.runners(t, 3)
	require.Equal(t, all[0].Salt(), all[2].Salt())
	var wait sync.WaitGroup
	starts := make([]int64, 3)
	for k, r := range all {
		wait.Go(func() {
			for _, at := range []string{"level c1", "level c4"} {
				for line := range 500 {
					r.Add(fmt.Appendf(nil, `{"part":%d,"at":%q,"line":%d}`, k+1, at, line))
				}
				before := r.o.Now()
				startNs, number, err := r.Meet(t.Context(), at, 10*k, true)
				if err != nil || number != 20 || startNs < before {
					t.Errorf("met at %d, number %d, error %v", startNs, number, err)
				}
				starts[k] = startNs + r.o.StartUnixNs
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	require.Empty(t, b.ended(t))
	for k := range all {
		require.InDelta(t, starts[0], starts[k], 1e6, "all runners' clocks are one here")
		lines := strings.Split(strings.TrimSuffix(held(t, b, k+1), "\n"), "\n")
		require.Len(t, lines, 1000)
		require.Equal(t, fmt.Sprintf(`{"part":%d,"at":"level c4","line":499}`, k+1), lines[999])
	}
}

func TestClock_OffsetIsFoundHoweverLarge(t *testing.T) {
	b := serve(t, config(t, 2))
	r := b.open(t, 300*time.Millisecond)
	require.NoError(t, r.Register(t.Context(), 1, 2, facts()))
	off := r.o.StartUnixNs - r.Clock().ZeroUnixNs
	require.InDelta(t, 300e6, off, float64(r.Clock().UncertaintyNs)+1e6, "measured within its own uncertainty")
}

func TestCoordinator_RunnerThatDoesNotFitIsNamedAndEndsTheRun(t *testing.T) {
	other := func(change func(f *Facts)) Facts {
		f := facts()
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		part, of int
		off      time.Duration
		facts    Facts
		want     string
	}{
		"another build": {2, 2, 0, other(func(f *Facts) { f.Build = "b2" }), "runner 2 of 2 is another build of k6 than runner 1 of 2"},
		"other settings": {2, 2, 0, other(func(f *Facts) { f.Settings = map[string]any{"REQUESTS": 13} }),
			"runner 2 of 2 has REQUESTS=13, runner 1 of 2 has 12"},
		"a setting less":   {2, 2, 0, other(func(f *Facts) { f.Settings = nil }), "has REQUESTS=null"},
		"another scenario": {2, 2, 0, other(func(f *Facts) { f.Scenario = "ramp" }), "runner 2 of 2 runs ramp"},
		"a shifted clock":  {2, 2, -5 * time.Second, facts(), "the clock of runner 2 of 2 is 5s off the coordinator's, limit 1s"},
		"the same part":    {1, 2, 0, facts(), "runner 1 of 2 came twice"},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, config(t, 2))
			first := b.open(t, 0)
			told := make(chan string, 1)
			first.o.Ended = func(reason string) { told <- reason }
			require.NoError(t, first.Register(t.Context(), 1, 2, facts()))
			require.ErrorContains(t, b.open(t, c.off).Register(t.Context(), c.part, c.of, c.facts), c.want)
			select {
			case reason := <-told:
				require.Contains(t, reason, c.want)
			case <-time.After(20 * time.Second):
				t.Fatal("the other runner was not told")
			}
			_, _, err := first.Meet(t.Context(), "level c1", 0, true)
			require.ErrorAs(t, err, &ErrEnded{})
			require.NoError(t, first.Close())
			require.Contains(t, b.ended(t), c.want)
		})
	}
	b := serve(t, config(t, 2))
	require.ErrorContains(t, b.open(t, 0).Register(t.Context(), 1, 3, facts()), "RUNNERS=3, but the coordinator waits for 2")
}

func TestCoordinator_LostRunnerEndsTheRunAndItsRecordsStay(t *testing.T) {
	c := config(t, 2)
	c.LostAfter = time.Second
	b := serve(t, c)
	all := []*Runner{b.open(t, 0), b.open(t, 0)}
	var dead atomic.Bool
	network := all[1].http.Transport
	all[1].http.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if dead.Load() {
			return nil, context.DeadlineExceeded
		}
		return network.RoundTrip(r)
	})
	for k, r := range all {
		require.NoError(t, r.Register(t.Context(), k+1, 2, facts()))
	}
	all[1].Add([]byte(`{"type":"request"}`))
	require.Eventually(t, func() bool { return held(t, b, 2) != "" }, 20*time.Second, 5*time.Millisecond)
	dead.Store(true)
	_, _, err := all[0].Meet(t.Context(), "level c1", 0, true)
	require.ErrorContains(t, err, "runner 2 of 2 is lost: nothing was heard of it for 1s")
	require.NoError(t, all[0].Close())
	require.Contains(t, b.ended(t), "runner 2 of 2 is lost")
	require.Equal(t, "{\"type\":\"request\"}\n", held(t, b, 2))
	require.Equal(t, []string{"ended", "lost"}, []string{b.s.Parts()[0].State, b.s.Parts()[1].State})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWaitsHaveAnEnd(t *testing.T) {
	t.Run("for runners that do not come", func(t *testing.T) {
		c := config(t, 3)
		c.WaitFor = 50 * time.Millisecond
		b := serve(t, c)
		require.Equal(t, "runner 1, 2, 3 of 3 did not come within 50ms", b.ended(t))
	})
	t.Run("for one that works on", func(t *testing.T) {
		c := config(t, 2)
		c.MeetWithin = 50 * time.Millisecond
		b := serve(t, c)
		all := b.runners(t, 2)
		_, _, err := all[0].Meet(t.Context(), "level c1", 0, true)
		require.ErrorContains(t, err, "runner 1 of 2 waited for the others at level c1 for 50ms")
	})
	t.Run("for one that has ended", func(t *testing.T) {
		b := serve(t, config(t, 2))
		all := b.runners(t, 2)
		require.NoError(t, all[1].Close())
		_, _, err := all[0].Meet(t.Context(), "level c1", 0, true)
		require.ErrorContains(t, err, "runner 2 of 2 ended before the others: runner 1 of 2 waits at level c1")
	})
	t.Run("for one that is at another place", func(t *testing.T) {
		b := serve(t, config(t, 2))
		all := b.runners(t, 2)
		go func() { _, _, _ = all[1].Meet(t.Context(), "level c2", 0, true) }()
		_, _, err := all[0].Meet(t.Context(), "level c1", 0, true)
		require.ErrorContains(t, err, "the runners do not run the same load: runner 1 of 2 waits at level c1, runner 2 of 2 waits at level c2")
	})
	t.Run("for a coordinator that takes requests and does not reply", func(t *testing.T) {
		c := config(t, 1)
		c.LostAfter = time.Second
		b := serve(t, c)
		r := b.open(t, 0)
		told := make(chan string, 1)
		r.o.Ended = func(reason string) { told <- reason }
		network := r.http.Transport
		var mute atomic.Bool
		r.http.Transport = roundTripper(func(request *http.Request) (*http.Response, error) {
			if mute.Load() {
				<-request.Context().Done()
				return nil, request.Context().Err()
			}
			return network.RoundTrip(request)
		})
		require.NoError(t, r.Register(t.Context(), 1, 1, facts()))
		mute.Store(true)
		r.Add([]byte(`{"type":"request"}`))
		muteAt := time.Now()
		select {
		case reason := <-told:
			require.Contains(t, reason, "could not be reached for 1s")
			require.Less(t, time.Since(muteAt), longPoll)
		case <-time.After(2 * longPoll):
			t.Fatal("the runner waits for longer than --lost-after")
		}
		require.Error(t, r.Close())
		at, rest := r.Rest()
		require.Equal(t, int64(0), at)
		require.Equal(t, "{\"type\":\"request\"}\n", string(rest))
	})
	t.Run("for a coordinator that is gone", func(t *testing.T) {
		c := config(t, 2)
		c.LostAfter = 300 * time.Millisecond
		b := serve(t, c)
		r := b.open(t, 0)
		told := make(chan string, 1)
		r.o.Ended = func(reason string) { told <- reason }
		require.NoError(t, r.Register(t.Context(), 1, 2, facts()))
		b.http.Close()
		select {
		case reason := <-told:
			require.Contains(t, reason, "does not take this runner's records")
		case <-time.After(20 * time.Second):
			t.Fatal("the runner goes on without a coordinator")
		}
		require.Error(t, r.Close())
	})
}

func TestOpen_WhatIsNoCoordinatorIsRefusedAtOnce(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	const token = "0123456789abcdef0123456789abcdef"
	for address, says := range map[string]string{
		plain.URL: "is it a coordinator?",
		strings.Replace(plain.URL, "http:", "https:", 1): "there is no TLS at its address",
	} {
		began := time.Now()
		_, err := Open(t.Context(), Options{Address: address, Token: token, Now: func() int64 { return 1 }})
		require.ErrorContains(t, err, says, address)
		require.Less(t, time.Since(began), openPatience/2)
	}
}

func TestOpen_SaysOnceThatItWaits(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	mute := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the runner left
		<-r.Context().Done()
	}))
	t.Cleanup(mute.Close)
	for name, c := range map[string]struct{ address, why string }{
		"where nothing listens":    {gone.URL, "connection refused"},
		"where nothing is replied": {mute.URL, "no reply for 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var said []string
			_, err := Open(ctx, Options{Address: c.address, Now: func() int64 { return 1 }, Waiting: func(what string) {
				said = append(said, what)
				cancel()
			}})
			require.ErrorIs(t, err, context.Canceled)
			require.Len(t, said, 1)
			require.Regexp(t, "^COORDINATOR="+c.address+` does not answer yet \(.*`+c.why+`\): asking again for up to 2m0s$`, said[0])
		})
	}
	t.Run("and no second time", func(t *testing.T) {
		var times atomic.Int32
		_, err := Open(t.Context(), Options{Address: gone.URL, Now: func() int64 { return 1 }, Patience: 400 * time.Millisecond, Waiting: func(string) { times.Add(1) }})
		require.ErrorContains(t, err, "could not be reached for 400ms")
		require.Equal(t, int32(1), times.Load())
	})
}

// A request that comes twice, late or torn leaves the records as they were sent.
func TestRecordsAreWrittenOnceInOrderAndByWholeLines(t *testing.T) {
	b := serve(t, config(t, 1))
	r := b.runners(t, 1)[0]
	post := func(offset int, body string) int {
		q := fmt.Sprintf("?run=%s&instance=%s&part=1&offset=%d", b.s.Run(), r.instance, offset)
		w := httptest.NewRecorder()
		b.s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, pathRecords+q, strings.NewReader(body)))
		return w.Code
	}
	require.Equal(t, 200, post(0, "one\n"))
	require.Equal(t, 200, post(0, "one\ntwo\n"), "a reply was lost: the request came again with more")
	require.Equal(t, 200, post(0, "one\n"))
	require.Equal(t, http.StatusConflict, post(100, "x\n"), "bytes are missing")
	torn := httptest.NewRequest(http.MethodPost, pathRecords+fmt.Sprintf("?run=%s&instance=%s&part=1&offset=8", b.s.Run(), r.instance),
		&tornBody{strings.NewReader("three\nfou")})
	b.s.Handler().ServeHTTP(httptest.NewRecorder(), torn)
	require.Equal(t, "one\ntwo\nthree\n", held(t, b, 1))
	stranger := fmt.Sprintf("?run=%s&instance=other&part=1&offset=14", b.s.Run())
	w := httptest.NewRecorder()
	b.s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, pathRecords+stranger, strings.NewReader("x\n")))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "one\ntwo\nthree\n", held(t, b, 1))
}

type tornBody struct{ r *strings.Reader }

func (b *tornBody) Read(p []byte) (int, error) {
	if b.r.Len() == 0 {
		return 0, context.Canceled
	}
	return b.r.Read(p)
}

const token = "0123456789abcdef0123456789abcdef"

func TestToken_IsTheKeyOfBothEnds(t *testing.T) {
	s, err := NewServer(Config{Runners: 1, Dir: t.TempDir(), Token: token})
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(s.Handler())
	certificate, err := certificateOf(token)
	require.NoError(t, err)
	server.TLS = tlsWith(certificate)
	server.StartTLS()
	t.Cleanup(server.Close)
	open := func(address, token string) error {
		zero := time.Now()
		_, err := Open(t.Context(), Options{Address: address, Token: token, Now: func() int64 { return int64(time.Since(zero)) + 1 }, Patience: time.Second})
		return err
	}
	require.NoError(t, open(server.URL, token))
	wrong := open(server.URL, strings.Repeat("x", 32))
	require.ErrorContains(t, wrong, "has neither the key that belongs to the token nor a certificate")
	require.NotContains(t, wrong.Error(), token)
	require.ErrorContains(t, open(server.URL, "short"), "the token has 5 characters; it must have at least 24")

	// The right server, but a client without the token.
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, pathRun, strings.NewReader("{}")))
	require.Equal(t, http.StatusUnauthorized, w.Code)

	// Another server, which has a certificate that nobody vouches for.
	stranger := httptest.NewTLSServer(s.Handler())
	t.Cleanup(stranger.Close)
	stranger.Config.ErrorLog = nil
	require.ErrorContains(t, open(stranger.URL, token), "has neither the key")
	require.ErrorContains(t, open("http://192.0.2.1:7431", token), "without TLS token and records can be read on their way")
	require.ErrorContains(t, open("http://user:secret@127.0.0.1:7431", ""), "is not an address")
	require.NotContains(t, open("http://user:secret@127.0.0.1:7431", "").Error(), "secret")
}

func TestToken_ComesFromOnePlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	got, err := ReadToken(file, "")
	require.NoError(t, err)
	require.Equal(t, token, got)
	_, err = ReadToken(file, token)
	require.ErrorContains(t, err, "give one of them")
	_, err = ReadToken(file+"x", "")
	require.Error(t, err)
}

func TestRecordsOfAnEarlierRunAreNotWrittenOver(t *testing.T) {
	c := config(t, 2)
	require.NoError(t, os.MkdirAll(filepath.Join(c.Dir, "part-2"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(c.Dir, "part-2", recordsName), nil, 0o644))
	_, err := NewServer(c)
	require.ErrorContains(t, err, "holds records already")
}

func TestCoordinator_RefusesBadSettingsBeforeItListens(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  string
		want string
	}{
		"no runners":     {[]string{"--results", "x"}, "", "--runners is 0"},
		"no folder":      {[]string{"--runners", "2"}, "", "--results is missing"},
		"open to all":    {[]string{"--runners", "2", "--results", "x", "--listen", "0.0.0.0:0"}, "", "is reached from other hosts"},
		"a short token":  {[]string{"--runners", "2", "--results", "x"}, "hunter2", "the token has 7 characters"},
		"a key alone":    {[]string{"--runners", "2", "--results", "x", "--key", "k"}, token, "--cert and --key go together"},
		"too impatient":  {[]string{"--runners", "2", "--results", "x", "--lost-after", "10ms"}, "", "--lost-after is 10ms"},
		"no lead":        {[]string{"--runners", "2", "--results", "x", "--lead", "0s"}, "", "--lead is 0s"},
		"no judge there": {[]string{"--runners", "2", "--results", "x"}, "", "nothing can judge the run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(tokenVariable, c.env)
			cmd := NewCommand()
			cmd.SetArgs(c.args)
			cmd.SilenceErrors = true
			err := cmd.ExecuteContext(t.Context())
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestReadyIsWhoHasAllVUs(t *testing.T) {
	status := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(status)) }))
	t.Cleanup(server.Close)
	at := strings.TrimPrefix(server.URL, "http://")
	for n, want := range map[int]string{0: "status is 0", 3: "status is 3", 4: "", 7: ""} {
		status = fmt.Sprintf(`{"data":{"type":"status","id":"default","attributes":{"status":%d,"paused":true}}}`, n)
		if err := ready(t.Context(), at); want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
	status = `{}`
	require.ErrorContains(t, ready(t.Context(), at), "none of k6's REST API")
	server.Close()
	require.ErrorContains(t, ready(t.Context(), at), "not ready")
}
