package sse

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
	k6http "go.k6.io/k6/v2/js/modules/k6/http"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/types"
	"go.k6.io/k6/v2/metrics"
)

// params is what a script gives sse.open and sse.openAsync besides the URL.
type params struct {
	method  string
	header  http.Header
	body    string
	timeout time.Duration // of the whole call; 0 = none
	jar     *cookiejar.Jar
	tags    metrics.TagsAndMeta
}

// parseParams reads the object of parameters, which may be missing.
func parseParams(state *lib.State, rt *sobek.Runtime, given sobek.Value) (*params, error) {
	p := &params{
		method: http.MethodGet, jar: state.CookieJar, tags: state.Tags.GetCurrentValues(),
		header: http.Header{"Accept": {"text/event-stream"}, "User-Agent": {state.Options.UserAgent.String}},
	}
	if isNothing(given) {
		return p, nil
	}
	object := given.ToObject(rt)
	for _, key := range object.Keys() {
		value := object.Get(key)
		if isNothing(value) {
			continue
		}
		if err := p.set(rt, key, value); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return p, nil
}

// within returns the context of the call: the given one, bounded by the timeout.
func (p *params) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.timeout > 0 {
		return context.WithTimeout(ctx, p.timeout)
	}
	return context.WithCancel(ctx)
}

// set takes one parameter; those that are not known are ignored.
func (p *params) set(rt *sobek.Runtime, key string, value sobek.Value) error {
	switch key {
	case "method":
		if method := strings.TrimSpace(value.String()); method != "" {
			p.method = method
		}
	case "headers":
		headers := value.ToObject(rt)
		for _, name := range headers.Keys() {
			p.header.Set(name, headers.Get(name).String())
		}
	case "body":
		if buffer, ok := value.Export().(sobek.ArrayBuffer); ok {
			p.body = string(buffer.Bytes())
		} else {
			p.body = value.String()
		}
	case "tags":
		return common.ApplyCustomUserTags(rt, &p.tags, value)
	case "jar":
		if jar, ok := value.Export().(*k6http.CookieJar); ok {
			p.jar = jar.Jar
		}
	case "timeout":
		var err error
		p.timeout, err = duration(value)
		return err
	}
	return nil
}

func duration(value sobek.Value) (time.Duration, error) {
	d, err := types.GetDurationValue(value.Export())
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is neither milliseconds nor a duration like 90s", value.String())
	}
	return d, nil
}

func isNothing(v sobek.Value) bool { return v == nil || sobek.IsUndefined(v) || sobek.IsNull(v) }
