package scrape

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Kind is what a metric is.
type Kind string

// The kinds of metrics. What a page gives no type is a counter where its name ends in _total, else a gauge.
const (
	Gauge     Kind = "gauge"
	Counter   Kind = "counter"
	Histogram Kind = "histogram" // a summary is one without buckets
)

// Metric is what a page says of one metric, its series joined.
type Metric struct {
	Name  string
	Kind  Kind
	Value float64 // of a gauge or a counter

	Count, Sum float64 // of a histogram
	Buckets    []Bucket
}

// Bucket counts the observations up to a bound.
type Bucket struct{ Bound, Count float64 }

// Reader reads the metrics that selectors choose from pages.
type Reader struct {
	selectors []Selector
	wanted    map[string]bool // by the name of a sample; found out once a name
	lines     []byte
}

// NewReader returns a reader of the metrics that the selectors choose; of several that choose the same metric with the same
// labels, the first counts.
func NewReader(selectors []Selector) *Reader {
	return &Reader{selectors: selectors, wanted: map[string]bool{}}
}

// maxNames bounds the memory that pages with ever new names take.
const maxNames = 1 << 14

// Read returns the chosen metrics of a page, in the order of their names. Where a line cannot be read, what
// stands before it counts, and the error says so.
func (r *Reader) Read(page []byte) ([]Metric, error) {
	families, err := parse(r.filtered(page))
	if err != nil {
		clear(r.wanted)
	}
	var out []Metric
	seen := map[string]bool{}
	for _, s := range r.selectors {
		for name, family := range families {
			// A counter's family may be named without its suffix.
			shown := name
			if !s.matches(name) {
				if shown = name + "_total"; family.GetType() != dto.MetricType_COUNTER || !s.matches(shown) {
					continue
				}
			}
			column := s.column(shown)
			if seen[column] {
				continue
			}
			if m, ok := joined(family, s); ok {
				m.Name = column
				seen[column] = true
				out = append(out, m)
			}
		}
	}
	slices.SortFunc(out, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// parse reads a page in the text format.
func parse(page []byte) (map[string]*dto.MetricFamily, error) {
	text := expfmt.NewTextParser(model.UTF8Validation)
	return text.TextToMetricFamilies(bytes.NewReader(page))
}

// filtered leaves out the lines of metrics that nobody wants: to parse them would take most of the time. The first line of each
// name stays, so that what is no such page is noticed.
func (r *Reader) filtered(page []byte) []byte {
	r.lines = r.lines[:0]
	for line := range bytes.Lines(page) {
		name, isType := line, false
		if bytes.HasPrefix(line, []byte("# ")) {
			word, rest, _ := bytes.Cut(line[2:], []byte(" "))
			if isType = string(word) == "TYPE"; !isType {
				continue
			}
			name = rest
		}
		if end := bytes.IndexAny(name, "{ \t\r\n"); end >= 0 {
			name = name[:end]
		}
		wanted, known := r.wanted[string(name)]
		if !known && !isType && len(r.wanted) < maxNames {
			r.wanted[string(name)] = r.wants(string(name))
		}
		if wanted || !known {
			r.lines = append(r.lines, line...)
		}
	}
	return r.lines
}

// wants reports whether a sample of that name belongs to a metric that a selector may choose.
func (r *Reader) wants(sample string) bool {
	if sample == "" {
		return false
	}
	names := []string{sample, sample + "_total"}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if name, ok := strings.CutSuffix(sample, suffix); ok {
			names = append(names, name)
		}
	}
	for _, s := range r.selectors {
		if slices.ContainsFunc(names, s.matches) {
			return true
		}
	}
	return false
}

// joined makes one metric of a family's series that a selector chooses; false where there is none.
func joined(f *dto.MetricFamily, s Selector) (Metric, bool) {
	m := Metric{Kind: kindOf(f)}
	n := 0.0
	buckets := map[float64]float64{}
	for _, series := range f.GetMetric() {
		if !s.has(series) {
			continue
		}
		n++
		if m.Kind == Histogram {
			h, q := series.GetHistogram(), series.GetSummary()
			m.Count += float64(h.GetSampleCount()) + float64(q.GetSampleCount())
			m.Sum += h.GetSampleSum() + q.GetSampleSum()
			for _, b := range h.GetBucket() {
				buckets[b.GetUpperBound()] += float64(b.GetCumulativeCount())
			}
			continue
		}
		v := series.GetGauge().GetValue() + series.GetCounter().GetValue() + series.GetUntyped().GetValue()
		if s.over == Max && n > 1 {
			m.Value = math.Max(m.Value, v)
		} else if s.over == Max {
			m.Value = v
		} else {
			m.Value += v
		}
	}
	if s.over == Mean && n > 0 {
		m.Value /= n
	}
	for bound, count := range buckets {
		if !math.IsInf(bound, 1) { // Count says it
			m.Buckets = append(m.Buckets, Bucket{bound, count})
		}
	}
	slices.SortFunc(m.Buckets, func(a, b Bucket) int {
		if a.Bound < b.Bound {
			return -1
		}
		return 1
	})
	return m, n > 0
}

func kindOf(f *dto.MetricFamily) Kind {
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		return Counter
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM, dto.MetricType_SUMMARY:
		return Histogram
	case dto.MetricType_UNTYPED:
		if strings.HasSuffix(f.GetName(), "_total") {
			return Counter
		}
	}
	return Gauge
}

// Columns returns the names of the values that a metric has, in the order of Values: a histogram has those of its parts.
func (m Metric) Columns() []string {
	if m.Kind != Histogram {
		return []string{m.Name}
	}
	name, labels, _ := strings.Cut(m.Name, "{")
	labels = strings.TrimSuffix(labels, "}")
	if labels != "" {
		labels += ","
	}
	part := func(suffix string) string {
		if labels == "" {
			return name + suffix
		}
		return name + suffix + "{" + strings.TrimSuffix(labels, ",") + "}"
	}
	out := []string{part("_count"), part("_sum")}
	for _, b := range m.Buckets {
		out = append(out, name+`_bucket{`+labels+`le="`+strconv.FormatFloat(b.Bound, 'g', -1, 64)+`"}`)
	}
	return out
}

// Values are those of Columns.
func (m Metric) Values() []float64 {
	if m.Kind != Histogram {
		return []float64{m.Value}
	}
	out := []float64{m.Count, m.Sum}
	for _, b := range m.Buckets {
		out = append(out, b.Count)
	}
	return out
}
