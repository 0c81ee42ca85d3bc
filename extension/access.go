package tokenclock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sirupsen/logrus"

	"github.com/tokenclock/tokenclock/extension/internal/access"
	"github.com/tokenclock/tokenclock/extension/internal/auth"
	"github.com/tokenclock/tokenclock/extension/internal/client"
)

// letIn reads what the run is let in with; the first VU's words count.
func (r *rootModule) letIn(spec *access.Spec, logger logrus.FieldLogger) error {
	if spec == nil || r.access.Load() != nil {
		return nil
	}
	a, err := access.New(*spec, auth.Options{Warn: func(line string) {
		if logger != nil {
			logger.Warn(line)
		}
	}})
	if err != nil {
		return err
	}
	r.access.Store(a)
	records.atEnd(a.Close)
	return nil
}

// credentialsFor returns the run's credentials where one of the headers stands for them.
func (r *rootModule) credentialsFor(h *access.Headers) (auth.Credentials, error) {
	if !h.Authorized {
		return nil, nil
	}
	c := r.access.Load().Credentials()
	if c == nil {
		return nil, errors.New("a header holds {{key}} or {{signature}}, but run() named no keys; name them in its access")
	}
	return c, nil
}

// headerFields are the engine's form of a list of headers.
func headerFields(of []auth.Field) []client.Field {
	out := make([]client.Field, len(of))
	for k, f := range of {
		out[k] = client.Field(f)
	}
	return out
}

// authorized has the requests of an unmeasured client carry the headers of a script, filled in, and the run's credentials
// where one of them stands for those. A request that is answered with 401 is sent once more where there is another key.
type authorized struct {
	http.RoundTripper
	credentials auth.Credentials
	headers     *access.Headers
}

// authorize puts the headers into what t sends.
func (r *rootModule) authorize(t http.RoundTripper, of map[string]string) (http.RoundTripper, error) {
	h, err := access.ParseHeaders(of)
	if err != nil {
		return nil, err
	}
	a := &authorized{RoundTripper: t, headers: h}
	if a.credentials, err = r.credentialsFor(h); err != nil {
		return nil, err
	}
	return a, nil
}

// RoundTrip implements http.RoundTripper.
func (a *authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if elsewhere(r) {
		return a.RoundTripper.RoundTrip(r)
	}
	for first := true; ; first = false {
		out := r.Clone(r.Context())
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			out.Body = body
		}
		for _, f := range a.headers.All(access.Values{ID: "tc-setup"}) {
			out.Header.Set(f.Name, f.Value)
		}
		number, err := a.sign(r.Context(), out)
		if err != nil {
			return nil, err
		}
		reply, err := a.RoundTripper.RoundTrip(out)
		if err != nil || !first || a.credentials == nil || reply.StatusCode != http.StatusUnauthorized || !a.credentials.Renew(r.Context(), number) {
			return reply, err
		}
		_ = reply.Body.Close()
	}
}

// elsewhere reports whether a redirection leads the request to another host, which is not to see a key.
func elsewhere(r *http.Request) bool {
	first := r
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Host != r.URL.Host || first.URL.Scheme == "https" && r.URL.Scheme != "https"
}

// CloseIdleConnections is what http.Client asks its transport for.
func (a *authorized) CloseIdleConnections() {
	if t, ok := a.RoundTripper.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

func (a *authorized) sign(ctx context.Context, r *http.Request) (uint64, error) {
	if a.credentials == nil {
		return 0, nil
	}
	out := auth.Outgoing{Method: r.Method, Scheme: r.URL.Scheme, Host: r.URL.Host, URI: r.URL.RequestURI(), Keyed: a.headers.Keyed}
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return 0, err
		}
		if out.Body, err = io.ReadAll(body); err != nil {
			return 0, err
		}
	}
	fields, number, err := a.credentials.Authorize(ctx, out)
	for _, f := range fields {
		r.Header.Set(f.Name, f.Value)
	}
	return number, err
}

// refusedOnce says once that the server refuses the key, however many requests it refuses.
func (r *run) refusedOnce(status int) {
	r.keyOnce.Do(func() {
		if r.logger != nil {
			r.logger.Warnf("tokenclock: the server answered HTTP %d: it refuses the key, or misses one; this is said once, the results count how often", status)
		}
	})
}

// keyNotes says what happened to the keys of a run.
func (r *run) keyNotes() []string {
	if r.root == nil {
		return nil
	}
	c := r.root.access.Load().Credentials()
	if c == nil {
		return nil
	}
	var notes []string
	if n := c.Counts(); n.Renewals > 0 || n.Failed > 0 {
		notes = append(notes, fmt.Sprintf("the key was renewed %d times, and could not be %d times", n.Renewals, n.Failed))
	}
	if n := r.keyRetries.Load(); n > 0 {
		notes = append(notes, fmt.Sprintf("%d requests met a key that had just ended (HTTP 401) and were sent once more with another; "+
			"their latencies begin with the second send, those from the schedule hold both", n))
	}
	return notes
}
