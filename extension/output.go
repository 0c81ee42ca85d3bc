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

	mu        sync.Mutex
	pending   [][]byte
	err       error
	earlier   bool // the file still holds an earlier run's records
	requested bool // a request has ended

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

// Start opens the file. What an earlier run wrote into it stays until a request of this one has ended: a run that finds no
// server takes nobody's results away.
func (o *recordsOutput) Start() error {
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	o.file = f
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	o.earlier = info.Mode().IsRegular() && info.Size() > 0
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
			o.requested = true
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
	if o.earlier && !o.requested {
		o.mu.Unlock()
		return
	}
	lines := o.pending
	o.pending = nil
	o.mu.Unlock()
	if len(lines) == 0 || o.err != nil {
		return
	}
	if o.earlier {
		if err := o.file.Truncate(0); err != nil { // the earlier run's end would follow this one's
			o.err = err
			o.logger.WithError(err).Error("records: the file of an earlier run cannot be emptied; nothing is recorded")
			return
		}
		o.earlier = false
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
	if o.earlier && err == nil {
		o.logger.Warnf("records: no request ended; %s still holds the records of an earlier run", o.path)
	} else if o.gz != nil && !o.earlier {
		err = errors.Join(err, o.gz.Close())
	}
	if err = errors.Join(err, o.file.Close()); err != nil {
		return fmt.Errorf("records: %w", err)
	}
	return nil
}
