package coordinate

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/errext/exitcodes"
)

// Exit codes beside those of the judge; docs/ci.md has the table.
const (
	exitNotValid    exitcodes.ExitCode = 98
	exitSettings                       = exitcodes.InvalidConfig
	exitInterrupted                    = exitcodes.ExternalAbort
)

// tokenVariable names the environment variable of the token, for runners and coordinator.
const tokenVariable = "TOKENCLOCK_COORDINATOR_TOKEN"

type flags struct {
	Config
	listen            string
	tokenFile         string
	certFile, keyFile string
	judge             string
}

// NewCommand returns the command "coordinate", which leads one run and judges it. When it listens it prints one line:
// "coordinate: listening on https://127.0.0.1:7431 for 3 runners".
func NewCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "coordinate --runners N --results DIR",
		Short: "Lead a run of several k6 instances: a common start of each level, all records, one verdict",
		Long: `Lead a run of several k6 instances. Each runs the same scenario with the same settings, its own --execution-segment,
RUNNERS=N and COORDINATOR=the address of this process. They meet here before each level and begin it together. Their records
arrive here while they grow, so that a runner that dies keeps what it measured: DIR/part-1/records.ndjson, ...

The token is read from ` + tokenVariable + ` or --token-file, by runners (COORDINATOR_TOKEN, COORDINATOR_TOKEN_FILE) as by
the coordinator. TLS follows from it: the coordinator's key is derived from the token, and needs no certificate. Without a
token the coordinator listens on a loopback address only, and without TLS.

When all runners have ended, the judge merges DIR's parts into one result in DIR and gives the exit code: 0 passed, 99 failed,
98 not valid (a runner is lost or not valid), 96 inconclusive. By default that is tokenclock's own merge: that of the release, or of
the clone, which needs Node.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			return f.run(cmd)
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&f.Runners, "runners", 0, "how many instances run the load")
	fs.StringVar(&f.Dir, "results", "", "folder of the results")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:7431", "address to listen on")
	fs.StringVar(&f.tokenFile, "token-file", "", "file with the token, instead of "+tokenVariable)
	fs.StringVar(&f.certFile, "cert", "", "certificate file (PEM) instead of the token's own key, for runners that trust its authority")
	fs.StringVar(&f.keyFile, "key", "", "key file (PEM) of --cert")
	fs.StringVar(&f.Salt, "salt", "", "salt of the run's texts (default: drawn)")
	fs.DurationVar(&f.Lead, "lead", 50*time.Millisecond, "time between the last runner's arrival and a common start")
	fs.DurationVar(&f.WaitFor, "wait", 10*time.Minute, "how long to wait for all runners to come")
	fs.DurationVar(&f.MeetWithin, "meet-within", time.Hour, "longest time that a runner waits for the others before a level")
	fs.DurationVar(&f.LostAfter, "lost-after", 20*time.Second, "a runner of which nothing was heard for this long is lost, and the run ends")
	fs.DurationVar(&f.MaxOffset, "max-offset", time.Second, "largest difference of a runner's wall clock")
	fs.DurationVar(&f.MaxUncertainty, "max-uncertainty", 25*time.Millisecond, "largest doubt about that difference")
	fs.StringVar(&f.judge, "judge", "", `command that merges and judges, split at spaces; "none" for none (default: this project's merge, where Node is found)`)
	return cmd
}

func (f *flags) run(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	f.Log = func(line string) { _, _ = fmt.Fprintln(out, "coordinate: "+line) }
	refused := func(err error) error {
		return errext.WithExitCodeIfNone(fmt.Errorf("coordinate: %w", err), exitSettings)
	}
	if err := f.check(); err != nil {
		return refused(err)
	}
	judge, err := f.judgeCommand()
	if err != nil {
		return refused(err)
	}
	s, err := NewServer(f.Config)
	if err != nil {
		return refused(err)
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return refused(err)
	}
	scheme := "http"
	if f.Token != "" {
		scheme = "https"
		certificate, err := f.certificate()
		if err != nil {
			return refused(err)
		}
		listener = tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}})
	}
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		ErrorLog: log.New(discard{}, "", 0), // who knocks without the token is no news
	}
	go func() { _ = server.Serve(listener) }()
	f.Log(fmt.Sprintf("listening on %s://%s for %d runners", scheme, listener.Addr(), f.Runners))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	reason := s.Wait(ctx)
	interrupted := ctx.Err() != nil
	stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = server.Shutdown(ctx)
	if err := f.writeReport(s, reason); err != nil {
		f.Log(err.Error())
	}
	return f.judged(cmd, judge, reason, interrupted)
}

// check refuses what cannot work, before anything is listened on.
func (f *flags) check() (err error) {
	if f.Runners < 1 {
		return fmt.Errorf("--runners is %d; it must be at least 1", f.Runners)
	}
	if f.Dir == "" {
		return errors.New("--results is missing; name a folder")
	}
	if f.Token, err = ReadToken(f.tokenFile, os.Getenv(tokenVariable)); err != nil {
		return err
	}
	_ = os.Unsetenv(tokenVariable) // the judge needs none
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return fmt.Errorf("--listen %s is no address such as 0.0.0.0:7431: %w", f.listen, err)
	}
	switch {
	case f.Token != "":
		if err := CheckToken(f.Token); err != nil {
			return err
		}
	case !isLoopback(host):
		return fmt.Errorf("--listen %s is reached from other hosts: set %s or --token-file", f.listen, tokenVariable)
	}
	if (f.certFile == "") != (f.keyFile == "") || f.certFile != "" && f.Token == "" {
		return errors.New("--cert and --key go together, and with a token")
	}
	for name, d := range map[string]time.Duration{
		"lead": f.Lead, "wait": f.WaitFor, "meet-within": f.MeetWithin, "lost-after": f.LostAfter,
		"max-offset": f.MaxOffset, "max-uncertainty": f.MaxUncertainty,
	} {
		if d <= 0 {
			return fmt.Errorf("--%s is %v; it must be longer than 0", name, d)
		}
	}
	if f.LostAfter < 2*heartbeat {
		return fmt.Errorf("--lost-after is %v; runners are heard every %v, so it must be at least %v", f.LostAfter, heartbeat, 2*heartbeat)
	}
	return nil
}

func (f *flags) certificate() (tls.Certificate, error) {
	if f.certFile != "" {
		certificate, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return certificate, fmt.Errorf("--cert %s and --key %s are no certificate and its key in PEM: %w", f.certFile, f.keyFile, err)
		}
		return certificate, nil
	}
	return certificateOf(f.Token)
}

// judgeCommand returns the words of the command that judges; nil where there shall be none.
func (f *flags) judgeCommand() ([]string, error) {
	switch f.judge {
	case "none":
		return nil, nil
	case "":
	default:
		return strings.Fields(f.judge), nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return nil, err
	}
	return mergeIn(filepath.Dir(filepath.Dir(program)))
}

// mergeIn returns the words of the merge of a folder that has bin/k6: a release, which has a Node of its own, or a clone.
func mergeIn(root string) ([]string, error) {
	if cli := filepath.Join(root, "lib", "cli.cjs"); isFile(cli) {
		node := os.Getenv("TOKENCLOCK_NODE")
		if node == "" {
			node = filepath.Join(root, "bin", "node")
			if runtime.GOOS == "windows" {
				node += ".exe"
			}
		}
		if _, err := exec.LookPath(node); err != nil {
			return nil, fmt.Errorf("%s does not run, so that nothing can judge the run; unpack the release again, or set TOKENCLOCK_NODE: %w", node, err)
		}
		return []string{node, cli, "merge"}, nil
	}
	bootstrap, merge := filepath.Join(root, "build", "bootstrap.cjs"), filepath.Join(root, "report", "cli", "merge.ts")
	for _, file := range []string{bootstrap, merge} {
		if !isFile(file) {
			return nil, fmt.Errorf("%s is not there, so that nothing can judge the run; name a command with --judge, or --judge none", file)
		}
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("node is not found, so that nothing can judge the run; install Node, name a command with --judge, or --judge none: %w", err)
	}
	return []string{node, bootstrap, merge}, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// report is coordinator.json.
type report struct {
	Run     string       `json:"run"`
	Runners int          `json:"runners"`
	Ended   string       `json:"ended,omitempty"` // why the run ended early
	Parts   []PartReport `json:"parts"`
}

func (f *flags) writeReport(s *Server, reason string) error {
	b, err := json.MarshalIndent(report{s.Run(), f.Runners, reason, s.Parts()}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(f.Dir, "coordinator.json"), append(b, '\n'), 0o644)
}

// judged runs the judge over the parts that are there, and gives its exit code; a run that ended early never passes.
func (f *flags) judged(cmd *cobra.Command, judge []string, reason string, interrupted bool) error {
	code := exitcodes.ExitCode(0)
	if judge != nil {
		args := append(judge[1:len(judge):len(judge)], "--parts", strconv.Itoa(f.Runners), "--output", f.Dir)
		if reason != "" {
			args = append(args, "--ended", reason)
		}
		for k := range f.Runners {
			args = append(args, filepath.Join(f.Dir, PartFolder(k+1)))
		}
		c := exec.Command(judge[0], args...)
		c.Stdout, c.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		var ended *exec.ExitError
		if err := c.Run(); errors.As(err, &ended) && ended.ExitCode() > 0 && ended.ExitCode() < 256 {
			code = exitcodes.ExitCode(ended.ExitCode()) //nolint:gosec
		} else if err != nil {
			return errext.WithExitCodeIfNone(fmt.Errorf("coordinate: the judge failed: %w", err), exitNotValid)
		}
	}
	switch {
	case interrupted:
		return errext.WithExitCodeIfNone(fmt.Errorf("coordinate: %s", reason), exitInterrupted)
	case reason != "":
		return errext.WithExitCodeIfNone(fmt.Errorf("coordinate: %s", reason), exitNotValid)
	case code != 0:
		return errext.WithExitCodeIfNone(fmt.Errorf("coordinate: the judge ended with exit code %d", code), code)
	case judge == nil:
		f.Log("nobody judged the run (--judge none): merge the parts to get its verdict")
	}
	return nil
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
