package records

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.k6.io/k6/v2/metrics"
	"go.k6.io/k6/v2/output"

	"github.com/tokenclock/tokenclock/extension/internal/results"
)

// Log is the records of one process. k6 makes the module and the output apart, and both have it: lines of the run come
// straight from the module, requests come through k6 like every sample.
type Log struct {
	active atomic.Bool
	mu     sync.Mutex
	early  [][]byte // lines from before the output was started
	out    *Output
	over   bool              // the file is closed: what comes now is dropped
	ends   []func()          // what runs beside the load and stops with it
	finish func()            // writes the last lines
	send   func(line []byte) // to the coordinator of several instances; nil = there is none
	failed error             // what kept the records from being whole
}

// Container is a sample container that brings the line of a request, without its newline; nil is none.
type Container interface{ Record() []byte }

// On reports whether there is an output that takes lines of requests.
func (l *Log) On() bool { return l.active.Load() }

// SendTo has every line go to a coordinator as well, whether there is a file or none.
func (l *Log) SendTo(send func(line []byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.send = send
	l.active.Store(true)
}

// Send hands a request's line to the coordinator; k6 brings it to the file.
func (l *Log) Send(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.send != nil {
		l.send(line)
	}
}

// Finish writes the last lines, where no file's end has done so.
func (l *Log) Finish() {
	l.mu.Lock()
	finish := l.finish
	l.finish = nil
	l.mu.Unlock()
	if finish != nil {
		finish()
	}
}

// Begin writes the run's line, which comes first. finish writes the lines that come last.
func (l *Log) Begin(first Run, finish func()) {
	l.mu.Lock()
	l.finish = finish
	l.mu.Unlock()
	l.Line(first)
}

// AtEnd has stop called before the last lines are written, for what no script stops.
func (l *Log) AtEnd(stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, stop)
}

// Failure returns what kept the records from being written whole; nil where nothing did, or there are none.
func (l *Log) Failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// fail remembers the first failure.
func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

// Line writes one line, now or when the file is opened. A value that JSON cannot hold becomes a line of type error.
func (l *Log) Line(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(map[string]string{"type": "error", "message": err.Error()})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.send != nil {
		l.send(b)
	}
	if l.over {
		return
	}
	if l.out == nil {
		l.early = append(l.early, b)
		return
	}
	l.out.add(b)
}

// Output is `--out records=FILE`: one line a request, gzipped where the name ends in .gz.
type Output struct {
	log    *Log
	path   string
	logger logrus.FieldLogger

	mu      sync.Mutex
	pending [][]byte
	err     error

	file    *os.File
	gz      *gzip.Writer
	w       *bufio.Writer
	flusher *output.PeriodicFlusher
}

// flushPeriod bounds what a killed run loses.
const flushPeriod = 500 * time.Millisecond

// NewOutput makes the output that writes this log; k6 calls it for `--out records=FILE`.
func (l *Log) NewOutput(p output.Params) (output.Output, error) {
	if p.ConfigArgument == "" {
		return nil, errors.New("records: name a file, as in --out records=records.ndjson.gz")
	}
	l.mu.Lock()
	l.over = false
	l.mu.Unlock()
	l.active.Store(true)
	return &Output{log: l, path: p.ConfigArgument, logger: p.Logger}, nil
}

// Path returns the file's path.
func (o *Output) Path() string { return o.path }

// Description implements output.Output.
func (o *Output) Description() string { return "records (" + o.path + ")" }

// Start opens the file. What an earlier run wrote is moved aside: nobody's results are written over, and none of an
// earlier run can be taken for this one's.
func (o *Output) Start() error {
	to, err := results.ClearRecords(o.path, time.Now())
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	if to != "" {
		o.logger.Infof("records: %s was there already; it is in %s now", o.path, to)
	}
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	o.file = f
	var w io.Writer = f
	if strings.HasSuffix(o.path, ".gz") {
		// The fastest level: what compresses is the shape of a line, and the client's cores are for measuring.
		o.gz, err = gzip.NewWriterLevel(f, gzip.BestSpeed)
		if err != nil {
			return fmt.Errorf("records: %w", err)
		}
		w = o.gz
	}
	o.w = bufio.NewWriterSize(w, 64<<10)
	o.log.mu.Lock()
	o.log.out = o
	for _, b := range o.log.early {
		o.add(b)
	}
	o.log.early = nil
	o.log.mu.Unlock()
	o.flusher, err = output.NewPeriodicFlusher(flushPeriod, o.flush)
	return err
}

// AddMetricSamples takes the requests' lines; the samples beside them are for other outputs.
func (o *Output) AddMetricSamples(containers []metrics.SampleContainer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range containers {
		if r, ok := c.(Container); ok {
			if line := r.Record(); line != nil {
				o.pending = append(o.pending, line)
			}
		}
	}
}

func (o *Output) add(line []byte) {
	o.mu.Lock()
	o.pending = append(o.pending, line)
	o.mu.Unlock()
}

// flush writes what is pending through to the file, so that a reader of a killed run finds it.
func (o *Output) flush() {
	o.mu.Lock()
	lines := o.pending
	o.pending = nil
	o.mu.Unlock()
	if len(lines) == 0 || o.err != nil {
		return
	}
	for _, b := range lines {
		_, _ = o.w.Write(b) // bufio keeps the first error for Flush
		_ = o.w.WriteByte('\n')
	}
	err := o.w.Flush()
	if err == nil && o.gz != nil {
		err = o.gz.Flush()
	}
	if err != nil {
		o.err = err
		o.log.fail(err)
		o.logger.WithError(err).Error("records: writing failed; later requests are not recorded")
	}
}

// Stop ends what runs beside the load, writes the last lines and closes the file.
func (o *Output) Stop() error {
	l := o.log
	l.mu.Lock()
	ends := l.ends
	l.ends = nil
	l.mu.Unlock()
	for _, stop := range ends {
		stop()
	}
	l.Finish()
	if o.flusher != nil {
		o.flusher.Stop()
	}
	l.mu.Lock()
	l.out, l.over = nil, true
	l.active.Store(l.send != nil)
	l.mu.Unlock()
	if o.file == nil {
		return nil
	}
	err := o.err // what comes after the first error repeats it
	if o.gz != nil {
		err = cmp.Or(err, o.gz.Close())
	}
	if info, statErr := o.file.Stat(); statErr == nil && info.Mode().IsRegular() {
		err = cmp.Or(err, o.file.Sync()) // a full disk may show here only
	}
	if err = cmp.Or(err, o.file.Close()); err != nil {
		o.log.fail(err)
		return fmt.Errorf("records: %w", err)
	}
	return nil
}
