package client

import (
	"fmt"
	"net"
	"net/url"
	"strings"
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
	t := target{url: u, tls: u.Scheme == "https", network: "tcp", server: u.Hostname(), host: u.Host, path: u.RequestURI()}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[t.tls]
	}
	t.address = net.JoinHostPort(u.Hostname(), port)
	t.authorization = basicAuthorization(u.User)
	return t, nil
}
