package module

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/sirupsen/logrus"

	"github.com/tokenclock/tokenclock/extension/internal/access"
	"github.com/tokenclock/tokenclock/extension/internal/auth"
	"github.com/tokenclock/tokenclock/extension/internal/client"
)

// letIn reads what the run is let in with; the first VU's words count.
func (r *Root) letIn(spec *access.Spec, logger logrus.FieldLogger) error {
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
	r.log.AtEnd(a.Close)
	return nil
}

// credentialsFor returns the run's credentials where one of the headers stands for them.
func (r *Root) credentialsFor(h *access.Headers) (auth.Credentials, error) {
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
func (r *Root) authorize(t http.RoundTripper, of map[string]string) (http.RoundTripper, error) {
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
	if client.RedirectedElsewhere(r) {
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
		if err != nil || !first || a.credentials == nil || !a.refused(reply) || !a.credentials.Renew(r.Context(), number) {
			return reply, err
		}
		_ = reply.Body.Close()
	}
}

// refused reports whether a reply refuses the key. Its body can be read as before.
func (a *authorized) refused(reply *http.Response) bool {
	if reply.StatusCode < http.StatusBadRequest || reply.StatusCode >= http.StatusInternalServerError {
		return false
	}
	first, _ := io.ReadAll(io.LimitReader(reply.Body, refusalBytes)) // an error comes again to whoever reads on
	reply.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(first), reply.Body), reply.Body}
	return a.credentials.Refused(reply.StatusCode, first)
}

// refusalBytes is how much of a reply is looked at for the reason of a refusal.
const refusalBytes = 16 << 10

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
