package tokenclock

import (
	"bufio"
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
)

// recordsLog is the process's one records file: the run's module writes lines that are no request's straight to it,
// requests come through k6 like every sample.
type recordsLog struct {
	active atomic.Bool
	mu     sync.Mutex
	early  [][]byte // lines from before the output was started
	out    *recordsOutput
	over   bool     // the file is closed: what comes now is nobody's
	ends   []func() // what runs beside the load and stops with it
	run    *run
	failed error // what kept the records from being whole
}

var records recordsLog

// on says that request lines are wanted.
func (l *recordsLog) on() bool { return l.active.Load() }

// begin writes the run's line, which comes first.
func (l *recordsLog) begin(r *run, v runLine) {
	l.mu.Lock()
	l.run = r
	l.mu.Unlock()
	l.line(v)
}

// atEnd has stop called before the records end, for what no script stops.
func (l *recordsLog) atEnd(stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, stop)
}

// failure returns what kept the records from being written whole; nil where nothing did, or there are none.
func (l *recordsLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// fail remembers the first failure.
func (l *recordsLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

// line writes one line, now or when the file is opened.
func (l *recordsLog) line(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(map[string]string{"type": "error", "message": err.Error()})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	if l.out == nil {
		l.early = append(l.early, b)
		return
	}
	l.out.add(b)
}

// recordsOutput is `--out records=FILE`: one line a request, gzipped where the name ends in .gz.
type recordsOutput struct {
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

func newRecordsOutput(p output.Params) (output.Output, error) {
	if p.ConfigArgument == "" {
		return nil, errors.New("records: name a file, as in --out records=records.ndjson.gz")
	}
	records.mu.Lock()
	records.over = false
	records.mu.Unlock()
	records.active.Store(true)
	return &recordsOutput{path: p.ConfigArgument, logger: p.Logger}, nil
}

func (o *recordsOutput) Description() string { return "records (" + o.path + ")" }

// Start opens the file. What an earlier run wrote is moved aside: nobody's results are written over, and none of an
// earlier run can be taken for this one's.
func (o *recordsOutput) Start() error {
	to, err := clearRecords(o.path, time.Now())
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	if to != "" {
		o.logger.Infof("records: %s was there already; it is in %s now", o.path, to)
	}
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
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
	records.mu.Lock()
	records.out = o
	for _, b := range records.early {
		o.add(b)
	}
	records.early = nil
	records.mu.Unlock()
	o.flusher, err = output.NewPeriodicFlusher(flushPeriod, o.flush)
	return err
}

// AddMetricSamples takes the lines out of the module's containers; all else is other outputs' business.
func (o *recordsOutput) AddMetricSamples(containers []metrics.SampleContainer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range containers {
		if r, ok := c.(*requestSamples); ok && r.line != nil {
			o.pending = append(o.pending, r.line)
		}
	}
}

func (o *recordsOutput) add(line []byte) {
	o.mu.Lock()
	o.pending = append(o.pending, line)
	o.mu.Unlock()
}

// flush writes what is pending through to the file, so that a reader of a killed run finds it.
func (o *recordsOutput) flush() {
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
		records.fail(err)
		o.logger.WithError(err).Error("records: writing failed; later requests are not recorded")
	}
}

// Stop writes the rest.
func (o *recordsOutput) Stop() error {
	records.mu.Lock()
	run, ends := records.run, records.ends
	records.ends = nil
	records.mu.Unlock()
	for _, stop := range ends {
		stop()
	}
	if run != nil {
		run.finish()
	}
	if o.flusher != nil {
		o.flusher.Stop()
	}
	records.mu.Lock()
	records.out, records.over = nil, true
	records.mu.Unlock()
	records.active.Store(false)
	if o.file == nil {
		return nil
	}
	err := o.err
	if o.gz != nil {
		err = errors.Join(err, o.gz.Close())
	}
	if info, statErr := o.file.Stat(); statErr == nil && info.Mode().IsRegular() {
		err = errors.Join(err, o.file.Sync()) // a full disk may show here only
	}
	if err = errors.Join(err, o.file.Close()); err != nil {
		records.fail(err)
		return fmt.Errorf("records: %w", err)
	}
	return nil
}
