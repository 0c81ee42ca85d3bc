package records

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

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/metrics"
	"go.k6.io/k6/v2/output"
)

// recordsTo makes a log and its output into a new folder.
func recordsTo(t *testing.T, name string) (*Output, *logtest.Hook) {
	t.Helper()
	logger, hook := logtest.NewNullLogger()
	logger.SetLevel(logrus.DebugLevel)
	out, err := new(Log).NewOutput(output.Params{ConfigArgument: filepath.Join(t.TempDir(), name), Logger: logger})
	require.NoError(t, err)
	return out.(*Output), hook
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

// requestSamples is a sample container that brings a record, as the module's are.
type requestSamples struct {
	metrics.Samples
	line []byte
}

func (s *requestSamples) Record() []byte { return s.line }

func requestLine(id string) metrics.SampleContainer {
	return &requestSamples{line: []byte(`{"type":"request","id":"` + id + `"}`)}
}

func TestRecordsHoldWhatCameBeforeTheFileWasOpen(t *testing.T) {
	for name, gzipped := range map[string]bool{"records.ndjson": false, "records.ndjson.gz": true} {
		t.Run(name, func(t *testing.T) {
			o, _ := recordsTo(t, name)
			require.True(t, o.log.On())
			var order []string
			o.log.Begin(Run{Type: "run", Schema: 1, Scenario: "s"}, func() {
				order = append(order, "finish")
				o.log.Line(Level{Type: "level", Name: "c1"})
				o.log.Line(End{Type: "end", Ended: "complete"})
			})
			o.log.AtEnd(func() { order = append(order, "stop") })
			require.NoError(t, o.Start())
			o.AddMetricSamples([]metrics.SampleContainer{requestLine("a"), metrics.Samples{}, &requestSamples{}, requestLine("b")})
			require.NoError(t, o.Stop())
			require.False(t, o.log.On())
			o.log.Line(map[string]any{"type": "points"})
			require.Empty(t, o.log.early, "what comes after the end is kept by nobody")
			lines, err := linesIn(t, o.path, gzipped)
			require.NoError(t, err, "the file ends properly")
			types := []any{}
			for _, line := range lines {
				types = append(types, line["type"])
			}
			require.Equal(t, []any{"run", "request", "request", "level", "end"}, types)
			require.Equal(t, "b", lines[2]["id"])
			require.Equal(t, []string{"stop", "finish"}, order, "the last lines are written once nothing runs beside the load")
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
		o.log.Line(map[string]any{"type": "points"})
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

func TestOutput_KilledRunLosesNothingThatWasFlushed(t *testing.T) {
	o, _ := recordsTo(t, "records.ndjson.gz")
	require.NoError(t, o.Start())
	o.AddMetricSamples([]metrics.SampleContainer{requestLine("a"), requestLine("b")})
	o.flush()
	lines, err := linesIn(t, o.path, true) // as it stands when the process dies here
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, lines, 2)
	require.NoError(t, o.Stop())
}

func TestOutput_WriteErrorIsLoggedOnceAndReturned(t *testing.T) {
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
	require.ErrorIs(t, o.log.Failure(), os.ErrClosed, "the verdict is told")
}

func TestRecordsNeedAFileThatCanBeMade(t *testing.T) {
	_, err := new(Log).NewOutput(output.Params{})
	require.ErrorContains(t, err, "name a file")
	o, _ := recordsTo(t, filepath.Join("no such folder", "records.ndjson"))
	require.ErrorIs(t, o.Start(), os.ErrNotExist)
	require.NoError(t, o.Stop())
}

func TestOutput_LineThatIsNoJSONIsReported(t *testing.T) {
	o, _ := recordsTo(t, "records.ndjson")
	require.NoError(t, o.Start())
	o.log.Line(map[string]any{"x": errors.ErrUnsupported, "y": func() {}})
	require.NoError(t, o.Stop())
	lines, err := linesIn(t, o.path, false)
	require.NoError(t, err)
	require.Equal(t, "error", lines[0]["type"])
	require.Contains(t, lines[0]["message"], "unsupported type")
}
