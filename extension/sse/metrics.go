package sse

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/lib/netext/httpext"
	"go.k6.io/k6/v2/metrics"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// eventMetric counts events: one sample an event, under the name that xk6-sse gave it.
type eventMetric struct{ counter *metrics.Metric }

func registerEventMetric(r *metrics.Registry) (*eventMetric, error) {
	counter, err := r.NewMetric("sse_event", metrics.Counter)
	return &eventMetric{counter}, err
}

// reporter emits the samples of one call of sse.open or sse.openAsync.
type reporter struct {
	ctx   context.Context // the VU's: nothing is emitted after its end, as k6's own client does
	state *lib.State
	event *eventMetric
	tags  metrics.TagsAndMeta // the script's
}

// eventAt counts one event that arrived then.
func (r *reporter) eventAt(tags *metrics.TagsAndMeta, atNs int64) {
	r.push(metrics.Sample{
		TimeSeries: metrics.TimeSeries{Metric: r.event.counter, Tags: tags.Tags}, Metadata: tags.Metadata,
		Time: clock.Wall(atNs), Value: 1,
	})
}

// push gives up when the VU's context ends, as metrics.PushIfNotDone does, also while it waits for room: a goroutine of
// sse.openAsync would outlive its iteration there.
func (r *reporter) push(s metrics.SampleContainer) {
	if r.ctx.Err() != nil {
		return
	}
	select {
	case r.state.Samples <- s:
	case <-r.ctx.Done():
	}
}

// tagsOf returns the tags of one exchange, as k6's own client sets them; resp is nil where no response came.
func (r *reporter) tagsOf(req *http.Request, resp *http.Response, x *client.Exchange) metrics.TagsAndMeta {
	tags := r.tags.Clone()
	enabled := r.state.Options.SystemTags
	url := req.URL.String()
	if u, err := httpext.NewURL(url, ""); err == nil {
		url = u.Clean()
	}
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagURL, url)
	if _, own := tags.Tags.Get(metrics.TagName.String()); !own {
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagName, url)
	}
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagMethod, req.Method)
	status := 0
	if resp != nil {
		status = resp.StatusCode
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagProto, resp.Proto)
		if resp.TLS != nil {
			info, ocsp := netext.ParseTLSConnState(resp.TLS)
			tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagTLSVersion, info.Version)
			tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagOCSPStatus, ocsp.Status)
		}
	}
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagStatus, strconv.Itoa(status))
	if x.Remote != nil {
		if ip, _, err := net.SplitHostPort(x.Remote.String()); err == nil {
			tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagIP, ip)
		}
	}
	return tags
}

// exchange emits the http_req_* samples of one request, redirects being requests of their own. err is why it ended
// early, nil = it did not. The definitions are those of k6 (lib/netext/httpext): duration is sending + waiting +
// receiving and so, for a stream, lasts to its end; blocked is all the time until a connection was there.
func (r *reporter) exchange(tags metrics.TagsAndMeta, resp *http.Response, x *client.Exchange, err error) {
	enabled := r.state.Options.SystemTags
	expected := err == nil && resp != nil && resp.StatusCode >= 200 && resp.StatusCode < 400
	switch {
	case err != nil:
		code, text := describe(err)
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagError, text)
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagErrorCode, strconv.Itoa(code))
	case resp != nil && resp.StatusCode >= 400:
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagErrorCode, strconv.Itoa(1000+resp.StatusCode))
	}
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagExpectedResponse, strconv.FormatBool(expected))

	endNs := x.EndNs
	if endNs == 0 {
		endNs = clock.Now()
	}
	trail := httpext.Trail{
		EndTime: clock.Wall(endNs), ConnReused: x.Reused, ConnRemoteAddr: x.Remote,
		Connecting: time.Duration(x.ConnectNs), TLSHandshaking: time.Duration(x.TLSNs), Blocked: elapsed(x.StartedNs, x.ReadyNs),
		Sending: elapsed(x.ReadyNs, x.SentNs), Waiting: elapsed(x.SentNs, x.FirstByteNs), Receiving: elapsed(x.FirstByteNs, endNs),
	}
	if x.FirstByteNs == 0 {
		trail.Waiting = elapsed(x.SentNs, endNs)
	}
	trail.ConnDuration = trail.Connecting + trail.TLSHandshaking
	trail.Duration = trail.Sending + trail.Waiting + trail.Receiving
	trail.SaveSamples(r.state.BuiltinMetrics, &tags)
	trail.Failed.Valid, trail.Failed.Bool = true, !expected
	failed := 0.0
	if !expected {
		failed = 1
	}
	trail.Samples = append(trail.Samples, metrics.Sample{
		TimeSeries: metrics.TimeSeries{Metric: r.state.BuiltinMetrics.HTTPReqFailed, Tags: tags.Tags},
		Time:       trail.EndTime, Metadata: tags.Metadata, Value: failed,
	})
	r.push(&trail)
}

// elapsed is the duration between two events; 0 where one of them did not happen.
func elapsed(fromNs, toNs int64) time.Duration {
	if fromNs == 0 || toNs < fromNs {
		return 0
	}
	return time.Duration(toNs - fromNs)
}

// describe returns k6's error code of an error and a text of low cardinality.
// https://grafana.com/docs/k6/latest/javascript-api/error-codes/
func describe(err error) (code int, text string) {
	var dns *net.DNSError
	var op *net.OpError
	errors.As(err, &op)
	dialing := op != nil && op.Op == "dial"
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &dns):
		return 1101, "lookup: no such host"
	case dialing && errors.Is(err, syscall.ECONNREFUSED):
		return 1212, "dial: connection refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		if dialing {
			return 1211, "dial: i/o timeout"
		}
		return 1050, "request timeout"
	case dialing:
		return 1210, "dial: error"
	case errors.Is(err, syscall.ECONNRESET):
		return 1220, "read: connection reset by peer"
	case errors.Is(err, syscall.EPIPE):
		return 1201, "write: broken pipe"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 1000, "unexpected EOF"
	}
	return 1000, "error"
}
