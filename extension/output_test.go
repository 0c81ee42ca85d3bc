package tokenclock

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/metrics"
	"go.k6.io/k6/v2/output"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// recordsTo makes a records output into a new folder and forgets what other tests left with the process's one log.
func recordsTo(t *testing.T, name string) (*recordsOutput, *logtest.Hook) {
	t.Helper()
	records.mu.Lock()
	records.early, records.out, records.run, records.failed = nil, nil, nil, nil
	records.mu.Unlock()
	logger, hook := logtest.NewNullLogger()
	logger.SetLevel(logrus.DebugLevel)
	out, err := newRecordsOutput(output.Params{ConfigArgument: filepath.Join(t.TempDir(), name), Logger: logger})
	require.NoError(t, err)
	t.Cleanup(func() {
		records.active.Store(false)
		records.mu.Lock()
		records.ends = nil
		records.early, records.out, records.run, records.failed = nil, nil, nil, nil
		records.mu.Unlock()
	})
	return out.(*recordsOutput), hook
}

// linesIn reads a records file as far as it goes; err is why it went no further, nil at a proper end.
func linesIn(t *testing.T, path string, gzipped bool) (lines []map[string]any, err error) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var r io.Reader = bytes.NewReader(b)
	if gzipped {
		r, err = gzip.NewReader(r)
		require.NoError(t, err)
	}
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		var line map[string]any
		require.NoError(t, json.Unmarshal(scan.Bytes(), &line), "%q", scan.Text())
		lines = append(lines, line)
	}
	return lines, scan.Err()
}

func requestLine(id string) metrics.SampleContainer {
	return &requestSamples{line: []byte(`{"type":"request","id":"` + id + `"}`)}
}

func TestRecordsHoldWhatCameBeforeTheFileWasOpen(t *testing.T) {
	for name, gzipped := range map[string]bool{"records.ndjson": false, "records.ndjson.gz": true} {
		t.Run(name, func(t *testing.T) {
			o, _ := recordsTo(t, name)
			require.True(t, records.on())
			r := &run{tally: tally.NewRun(tally.SLO{}), probe: &probe{}}
			r.tally.Level(tally.Spec{Name: "c1", Concurrency: 1})
			records.begin(r, runLine{Type: "run", Schema: 1, Scenario: "s"})
			require.NoError(t, o.Start())
			o.AddMetricSamples([]metrics.SampleContainer{requestLine("a"), metrics.Samples{}, &requestSamples{}, requestLine("b")})
			r.tally.Open("c1", 1, 0)
			r.tally.Add(&tally.Observation{Level: "c1", Phase: tally.Steady, ScheduledNs: 1, SentNs: 1, Result: &stream.Result{Failure: stream.Reset, EndNs: 5}})
			r.tally.Add(&tally.Observation{Level: "c1", Phase: tally.Steady, ScheduledNs: 1, SentNs: 1, Streamed: true, Result: &stream.Result{
				OutputTokens: 2, Arrivals: []stream.Arrival{{AtNs: 2, Tokens: 1}, {AtNs: 4, Tokens: 1}}, LastOutputNs: 4, EndNs: 4,
			}})
			require.NoError(t, o.Stop())
			require.False(t, records.on())
			lines, err := linesIn(t, o.path, gzipped)
			require.NoError(t, err, "the file ends properly")
			types := []any{}
			for _, line := range lines {
				types = append(types, line["type"])
			}
			require.Equal(t, []any{"run", "request", "request", "level", "end"}, types, "a level that the run's end cut has its line too")
			require.Equal(t, "b", lines[2]["id"])
			require.EqualValues(t, 5, lines[3]["endNs"])
			require.Len(t, lines[3]["itlHistograms"], 1)
			require.Equal(t, r.report(0).Levels[0].ITLHistograms[tally.Steady], lines[3]["itlHistograms"].(map[string]any)["steady"])
			itl, err := hdrhistogram.Decode([]byte(lines[3]["itlHistograms"].(map[string]any)["steady"].(string)))
			require.NoError(t, err)
			require.EqualValues(t, 2, itl.Max(), "ns")
			require.Equal(t, "VALID", lines[4]["validity"].(map[string]any)["state"])
			require.Equal(t, "complete", lines[4]["ended"])
		})
	}
}

func TestEarlierRecordsAreMovedAsideAndNeverWrittenOver(t *testing.T) {
	for _, name := range []string{"records.ndjson", "records.ndjson.gz"} {
		o, hook := recordsTo(t, name)
		earlier := bytes.Repeat([]byte("an earlier run\n"), 1000)
		require.NoError(t, os.WriteFile(o.path, earlier, 0o600))
		require.NoError(t, o.Start())
		require.Contains(t, hook.LastEntry().Message, "was there already")
		records.line(map[string]any{"type": "points"})
		o.AddMetricSamples([]metrics.SampleContainer{requestLine("a")})
		require.NoError(t, o.Stop())
		lines, err := linesIn(t, o.path, strings.HasSuffix(name, ".gz"))
		require.NoError(t, err)
		require.Len(t, lines, 2, "none of the earlier ones")
		moved, err := filepath.Glob(filepath.Join(filepath.Dir(o.path), "previous-*", name))
		require.NoError(t, err)
		require.Len(t, moved, 1)
		b, err := os.ReadFile(moved[0])
		require.NoError(t, err)
		require.Equal(t, earlier, b)
	}
}

func TestAKilledRunLosesNothingThatWasFlushed(t *testing.T) {
	o, _ := recordsTo(t, "records.ndjson.gz")
	require.NoError(t, o.Start())
	o.AddMetricSamples([]metrics.SampleContainer{requestLine("a"), requestLine("b")})
	o.flush()
	lines, err := linesIn(t, o.path, true) // as it stands when the process dies here
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, lines, 2)
	require.NoError(t, o.Stop())
}

func TestAWriteErrorIsLoggedOnceAndReturned(t *testing.T) {
	o, hook := recordsTo(t, "records.ndjson")
	require.NoError(t, o.Start())
	require.NoError(t, o.file.Close()) // every write fails from here on
	for range 3 {
		o.AddMetricSamples([]metrics.SampleContainer{requestLine("a")})
		o.flush()
	}
	require.Len(t, hook.AllEntries(), 1)
	require.Equal(t, logrus.ErrorLevel, hook.LastEntry().Level)
	err := o.Stop()
	require.ErrorIs(t, err, os.ErrClosed)
	require.ErrorContains(t, err, "records: ")
	require.ErrorIs(t, records.failure(), os.ErrClosed, "the verdict is told")
}

func TestRecordsNeedAFileThatCanBeMade(t *testing.T) {
	_, err := newRecordsOutput(output.Params{})
	require.ErrorContains(t, err, "name a file")
	o, _ := recordsTo(t, filepath.Join("no such folder", "records.ndjson"))
	require.ErrorIs(t, o.Start(), os.ErrNotExist)
	require.NoError(t, o.Stop())
}

func TestALineThatIsNoJSONSaysSo(t *testing.T) {
	o, _ := recordsTo(t, "records.ndjson")
	require.NoError(t, o.Start())
	records.line(map[string]any{"x": errors.ErrUnsupported, "y": func() {}})
	require.NoError(t, o.Stop())
	lines, err := linesIn(t, o.path, false)
	require.NoError(t, err)
	require.Equal(t, "error", lines[0]["type"])
	require.Contains(t, lines[0]["message"], "unsupported type")
}
