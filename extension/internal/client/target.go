package client

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// target is where requests go, taken apart once.
type target struct {
	url     *url.URL
	tls     bool
	network string // "tcp" or "unix"
	address string // host:port, or the socket's path
	server  string // name for TLS
	host    string // Host header
	path    string // request line: path and query

	authorization string // of the user in the URL, "" = none

	proxy *url.URL // nil = none
	// forwarded: the proxy is asked for the server's answer (absolute-form, RFC 9112, 3.2.2), as for all plain HTTP/1.1, and
	// not for a tunnel, which many refuse to ports other than 443.
	forwarded          bool
	proxyAuthorization string // of the user in the proxy's URL, where it is forwarded
}

// target takes an address apart and finds the proxy to it.
func (o *Options) target(raw string) (target, error) {
	t, err := parseTarget(raw)
	if err != nil || o.Proxy == nil || t.network != "tcp" {
		return t, err
	}
	if t.proxy, err = o.Proxy(t.url); err != nil {
		return target{}, errors.New("the proxy's address, of HTTP_PROXY or HTTPS_PROXY, cannot be read") // it may hold a password
	}
	if t.proxy == nil {
		return t, nil
	}
	if t.proxy.Scheme != "http" {
		return target{}, fmt.Errorf("the proxy of HTTP_PROXY or HTTPS_PROXY begins with %s://; only http:// is supported", t.proxy.Scheme)
	}
	if t.forwarded = !t.tls && !o.HTTP2; t.forwarded {
		t.proxyAuthorization = basicAuthorization(t.proxy.User)
	}
	return t, nil
}

// sameServer reports whether two targets are of one scheme, host and port, or of one socket.
func (t *target) sameServer(o *target) bool {
	return t.tls == o.tls && t.network == o.network && (t.address == o.address || t.network == "tcp" && strings.EqualFold(t.address, o.address))
}

// line is the target as it stands in the request line.
func (t *target) line() string {
	if t.forwarded {
		return "http://" + t.host + t.path
	}
	return t.path
}

// parseTarget reads http://, https:// and unix:///path.sock:/v1/... addresses.
func parseTarget(raw string) (target, error) {
	if rest, ok := strings.CutPrefix(raw, "unix://"); ok {
		socket, path, _ := strings.Cut(rest, ":")
		if socket == "" {
			return target{}, fmt.Errorf("address %q names no socket; write unix:///path/to.sock:/v1", Redact(raw))
		}
		if path == "" {
			path = "/"
		}
		u, err := url.Parse(path)
		if err != nil {
			return target{}, fmt.Errorf("address %q is not a URL", Redact(raw))
		}
		return target{url: u, network: "unix", address: socket, host: "localhost", path: u.RequestURI()}, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return target{}, fmt.Errorf("address %q is not one of http://host[:port]/path, https://host[:port]/path, unix:///path.sock:/path", Redact(raw))
	}
	hostname := u.Hostname()
	if !isASCII(hostname) {
		if hostname, err = idna.Lookup.ToASCII(hostname); err != nil {
			return target{}, fmt.Errorf("address %q has a host name that is none: %w", Redact(raw), err)
		}
		u.Host = strings.Replace(u.Host, u.Hostname(), hostname, 1)
	}
	t := target{url: u, tls: u.Scheme == "https", network: "tcp", server: withoutZone(hostname), host: withoutZone(u.Host), path: u.RequestURI()}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[t.tls]
	}
	t.address = net.JoinHostPort(hostname, port)
	t.authorization = basicAuthorization(u.User)
	return t, nil
}

// withoutZone takes the zone out of an IPv6 address: it names an interface of this host, which means nothing to the server
// (RFC 6874, 1).
func withoutZone(host string) string {
	zone := strings.IndexByte(host, '%')
	if zone < 0 {
		return host
	}
	end := len(host)
	if bracket := strings.LastIndexByte(host, ']'); bracket >= 0 {
		end = bracket
	}
	return host[:zone] + host[max(end, zone):]
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
