package sse

import (
	"errors"
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

// params is what a script gives sse.open besides the URL.
type params struct {
	setup   sobek.Callable
	method  string
	header  http.Header
	body    string
	timeout time.Duration // of the whole call; 0 = none
	jar     *cookiejar.Jar
	tags    metrics.TagsAndMeta
}

// parseParams reads the arguments after the URL: (setup) or (params, setup).
func parseParams(state *lib.State, rt *sobek.Runtime, args []sobek.Value) (*params, error) {
	var given sobek.Value
	switch len(args) {
	case 1:
	case 2:
		given = args[0]
	default:
		return nil, fmt.Errorf("sse.open takes a URL, optional params and a function; it got %d arguments after the URL", len(args))
	}
	setup, ok := sobek.AssertFunction(args[len(args)-1])
	if !ok {
		return nil, errors.New("the last argument of sse.open must be a function")
	}
	p := &params{
		setup: setup, method: http.MethodGet, jar: state.CookieJar, tags: state.Tags.GetCurrentValues(),
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
			return nil, fmt.Errorf("sse.open: %s: %w", key, err)
		}
	}
	return p, nil
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
		timeout, err := types.GetDurationValue(value.Export())
		if err != nil || timeout < 0 {
			return fmt.Errorf("%q is neither milliseconds nor a duration like 90s", value.String())
		}
		p.timeout = timeout
	}
	return nil
}

func isNothing(v sobek.Value) bool { return v == nil || sobek.IsUndefined(v) || sobek.IsNull(v) }
