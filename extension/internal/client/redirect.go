package client

import "net/http"

// RedirectedElsewhere reports whether redirects led a request of net/http to another server than the first one, or from TLS
// to none. Such a request must not carry what the first one was authorized by: net/http itself leaves out Authorization and
// Cookie, but no header with a name of a vendor's own.
func RedirectedElsewhere(r *http.Request) bool {
	first := r
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Host != r.URL.Host || first.URL.Scheme == "https" && r.URL.Scheme != "https"
}
