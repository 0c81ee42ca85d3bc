// Package access is how a run is let in by its server: its credentials, its side of TLS, and the headers that differ from
// request to request.
package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/tokenclock/tokenclock/extension/internal/auth"
)

// Spec says how a run is let in.
type Spec struct {
	Keys *auth.Spec `js:"keys"` // nil = no key that is renewed, and no signature
	TLS  TLS        `js:"tls"`
	// Trace gives each request a trace of its own in the header traceparent.
	Trace bool `js:"traceparent"`
}

// TLS is the client's side of it. Files are PEM.
type TLS struct {
	Cert       string `js:"cert"` // of the client, with Key
	Key        string `js:"key"`
	CA         string `js:"ca"` // trusted beside the system's
	SkipVerify bool   `js:"skipVerify"`
}

// Access is what a run is let in with. Its methods may be called on nil, which is a run without any of it, and by several
// goroutines.
type Access struct {
	credentials auth.Credentials
	trace       bool

	certificates []tls.Certificate
	roots        *x509.CertPool
	skipVerify   bool
}

// New reads the files that the spec names. Errors name the setting, and hold no secret.
func New(s Spec, o auth.Options) (*Access, error) {
	a := &Access{trace: s.Trace, skipVerify: s.TLS.SkipVerify}
	if err := a.load(s.TLS); err != nil {
		return nil, err
	}
	if s.Keys == nil {
		return a, nil
	}
	if o.HTTP == nil {
		// Connections to a token endpoint are rare, and must not outlive the run.
		o.HTTP = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: a.Secure(nil), DisableKeepAlives: true, DialContext: new(net.Dialer).DialContext,
		}}
	}
	var err error
	a.credentials, err = auth.New(*s.Keys, o)
	return a, err
}

func (a *Access) load(s TLS) error {
	if (s.Cert == "") != (s.Key == "") {
		return errors.New("TLS_CERT and TLS_KEY go together; set both")
	}
	if s.Cert != "" {
		for setting, path := range map[string]string{"TLS_CERT": s.Cert, "TLS_KEY": s.Key} {
			if _, err := os.ReadFile(path); err != nil {
				return fmt.Errorf("%s=%s cannot be read: %w", setting, path, auth.Reason(err))
			}
		}
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return fmt.Errorf("TLS_CERT=%s and TLS_KEY=%s are no certificate with its key, both in PEM and without a password", s.Cert, s.Key)
		}
		a.certificates = []tls.Certificate{pair}
	}
	if s.CA == "" {
		return nil
	}
	text, err := os.ReadFile(s.CA)
	if err != nil {
		return fmt.Errorf("TLS_CA=%s cannot be read: %w", s.CA, auth.Reason(err))
	}
	if a.roots, err = x509.SystemCertPool(); err != nil {
		a.roots = x509.NewCertPool()
	}
	if !a.roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("TLS_CA=%s holds no certificate in PEM", s.CA)
	}
	return nil
}

// Secure returns the configuration of TLS that is base, which is k6's and may be nil, with what the settings say. Its result
// is base itself where they say nothing.
func (a *Access) Secure(base *tls.Config) *tls.Config {
	if a == nil || a.certificates == nil && a.roots == nil && !a.skipVerify {
		return base
	}
	c := base.Clone()
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if a.certificates != nil {
		c.Certificates = a.certificates
	}
	if a.roots != nil {
		c.RootCAs = a.roots
	}
	c.InsecureSkipVerify = c.InsecureSkipVerify || a.skipVerify
	return c
}

// Credentials returns those of the run; nil = none that are renewed.
func (a *Access) Credentials() auth.Credentials {
	if a == nil {
		return nil
	}
	return a.credentials
}

// Trace reports whether requests carry a traceparent.
func (a *Access) Trace() bool { return a != nil && a.trace }

// Close ends what runs in the background.
func (a *Access) Close() {
	if a != nil && a.credentials != nil {
		a.credentials.Close()
	}
}
