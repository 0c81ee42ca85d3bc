// Package scrape reads wanted metrics from a server's page in Prometheus' text format.
package scrape

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Over says how the series of one metric become one value.
type Over string

// The ways to join the series of one metric.
const (
	Sum  Over = "sum"  // of counts: the requests of all engines together
	Mean Over = "mean" // of shares: how full the caches of all engines are
	Max  Over = "max"
)

// Selector chooses metrics by name and label.
type Selector struct {
	text   string // as it was given, without the function around it
	name   *regexp.Regexp
	exact  string // the name where it holds no *
	labels map[string]string
	over   Over
}

var (
	selectorForm = regexp.MustCompile(`^(?:(sum|mean|max)\((.*)\)|([^()]*))$`)
	seriesForm   = regexp.MustCompile(`^([A-Za-z_:*][\w:*]*)(?:\{(.*)\})?$`)
	labelForm    = regexp.MustCompile(`^\s*([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)`)
)

// ParseSelector reads a selector: the name of a metric, in which * stands for any characters, with labels that the series must
// have as in `name{gpu="0"}`, and `mean(...)` or `max(...)` around it where the series of the metric are not to be summed.
func ParseSelector(text string) (Selector, error) {
	form := selectorForm.FindStringSubmatch(text)
	if form == nil {
		return Selector{}, fmt.Errorf("%q is no name of a metric, nor mean(...) or max(...) of one", text)
	}
	s := Selector{over: Sum, text: form[2] + form[3]}
	if form[1] != "" {
		s.over = Over(form[1])
	}
	series := seriesForm.FindStringSubmatch(s.text)
	if series == nil {
		return Selector{}, fmt.Errorf("%q is no name of a metric such as vllm:num_requests_*", text)
	}
	if strings.Contains(series[1], "*") {
		s.name = regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(series[1]), `\*`, ".*") + "$")
	} else {
		s.exact = series[1]
	}
	for rest := series[2]; rest != ""; {
		label := labelForm.FindStringSubmatch(rest)
		if label == nil {
			return Selector{}, fmt.Errorf("the labels of %q are not of the form {name=\"value\"}", text)
		}
		if s.labels == nil {
			s.labels = map[string]string{}
		}
		s.labels[label[1]] = unescape.Replace(label[2])
		rest = rest[len(label[0]):]
	}
	return s, nil
}

var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n")

// ParseSelectors reads selectors. There must be one at least.
func ParseSelectors(texts []string) ([]Selector, error) {
	if len(texts) == 0 {
		return nil, errors.New("no metric is named")
	}
	out := make([]Selector, 0, len(texts))
	for _, text := range texts {
		s, err := ParseSelector(text)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// matches reports whether the selector chooses a metric of this name.
func (s Selector) matches(name string) bool {
	if s.name != nil {
		return s.name.MatchString(name)
	}
	return s.exact == name
}

// has reports whether a series has the selector's labels.
func (s Selector) has(series *dto.Metric) bool {
	found := 0
	for _, l := range series.GetLabel() {
		if want, ok := s.labels[l.GetName()]; ok && l.GetValue() == want {
			found++
		}
	}
	return found == len(s.labels)
}

// column is the name of the values of a metric that the selector chose: a pattern's own labels stay.
func (s Selector) column(name string) string {
	if len(s.labels) == 0 {
		return name
	}
	return name + s.text[strings.IndexByte(s.text, '{'):]
}
