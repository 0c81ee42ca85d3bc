package module

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/grafana/sobek"
	"github.com/mattn/go-isatty"
	"github.com/sirupsen/logrus"

	"github.com/tokenclock/tokenclock/extension/internal/auth"
	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/results"
	"github.com/tokenclock/tokenclock/extension/internal/run"
)

// declareRun is `run(spec)`: the first VU's words count.
func (i *instance) declareRun(v sobek.Value) {
	var spec run.Spec
	if err := decode(i.vu.Runtime(), v, &spec); err != nil {
		i.throw(err)
	}
	if err := results.MakeWritable(spec.ResultsDir); err != nil {
		i.refuse(fmt.Sprintf("tokenclock: RESULTS=%s cannot be written to: %v", spec.ResultsDir, err))
		return
	}
	if err := useStamps(spec.Stamps); err != nil {
		i.refuse(fmt.Sprintf("tokenclock: STAMPS=%s: %v", spec.Stamps, err))
		return
	}
	if !slices.Contains([]string{"", "auto", "true", "false"}, spec.Live) {
		i.refuse(fmt.Sprintf("tokenclock: LIVE=%s is not one of auto, true, false", spec.Live))
		return
	}
	if most := spec.MaxStolen; most != nil && !(*most >= 0 && *most <= 100) {
		i.refuse(fmt.Sprintf("tokenclock: maxStolen is %g; it must be a percentage from 0 to 100", *most))
		return
	}
	if err := client.CheckReader(); err != nil {
		i.refuse("tokenclock: " + err.Error())
		return
	}
	var logger logrus.FieldLogger
	if env := i.vu.InitEnv(); env != nil {
		logger = env.Logger
	}
	if err := i.root.letIn(spec.Access, logger); err != nil {
		i.refuse("tokenclock: " + err.Error())
		return
	}
	i.root.declare(spec, logger)
}

// useStamps chooses the source of times, and refuses one that this host does not have.
func useStamps(name string) error {
	stamps, err := client.ParseStamps(name)
	if err != nil {
		return err
	}
	client.UseStamps(stamps)
	if source, why := client.StampSource(); stamps == client.StampsRing && source != client.StampsRing {
		return errors.New(why)
	}
	return nil
}

// declare begins the run, where it has not begun.
func (r *Root) declare(spec run.Spec, logger logrus.FieldLogger) *run.Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if declared := r.run.Load(); declared != nil {
		return declared
	}
	declared := run.New(spec, run.Env{
		Log: r.log, Logger: logger, Interrupted: r.end.Interrupted,
		Credentials: func() auth.Credentials { return r.access.Load().Credentials() },
		Part:        r.runners.own,
		Watched:     watched(),
	})
	declared.Tally().Opened = r.pollNow
	r.run.Store(declared)
	return declared
}

// watched reports whether somebody sees standard error as it grows, and has not asked for quiet.
func watched() bool {
	fd := os.Stderr.Fd()
	return (isatty.IsTerminal(fd) || isatty.IsCygwinTerminal(fd)) && !parseCommandLine(os.Args[1:]).quiet
}

// current returns the run, declaring a nameless one where the script declared none.
func (r *Root) current() *run.Run {
	if declared := r.run.Load(); declared != nil {
		return declared
	}
	return r.declare(run.Spec{}, nil)
}

// conclude is `conclude(code)`: what the run came to.
func (i *instance) conclude(code int) { i.root.current().Conclude(code) }
