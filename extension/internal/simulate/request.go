package simulate

import (
	"bytes"
	"errors"
	"net/url"
	"strconv"
)

const (
	maxHeadBytes = 64 << 10
	maxBodyBytes = 256 << 20
)

// request is one HTTP/1.1 request. Its byte slices belong to the connection and are valid until the handler returns.
type request struct {
	method, path string
	query        string
	id           string // X-Request-Id
	simulate     []byte // X-Simulate
	key          []byte // of Authorization: Bearer, x-api-key or api-key
	basic        []byte // of Authorization: Basic
	contentType  []byte
	body         []byte
	beginNs      int64 // the kernel received the request's last segment
	kernelBegin  bool  // or, if false, the program did

	http10     bool
	keepAlive  bool
	expect     bool
	chunked    bool
	bodyLength int
}

// values returns the query's parameters.
func (r *request) values() url.Values {
	v, _ := url.ParseQuery(r.query)
	return v
}

// errBadRequest is answered with 400 and ends the connection.
var errBadRequest = errors.New("malformed HTTP request")

// errTooLarge is answered with 413 and ends the connection.
var errTooLarge = errors.New("request too large")

// parseHead reads a request's head from the beginning of b, which holds it whole.
func (r *request) parseHead(head []byte) error {
	*r = request{keepAlive: true}
	line, rest := cutLine(head)
	method, line, ok1 := bytes.Cut(line, space)
	target, version, ok2 := bytes.Cut(line, space)
	if !ok1 || !ok2 || len(target) == 0 {
		return errBadRequest
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		r.http10, r.keepAlive = true, false
	default:
		return errBadRequest
	}
	r.method = intern(method)
	if target[0] != '/' { // the absolute form that proxies are sent
		_, after, found := bytes.Cut(target, []byte("://"))
		if slash := bytes.IndexByte(after, '/'); found && slash >= 0 {
			target = after[slash:]
		} else if string(target) != "*" {
			target = []byte("/")
		}
	}
	path, query, _ := bytes.Cut(target, []byte("?"))
	r.path, r.query = intern(path), string(query)
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return errBadRequest
		}
		if err := r.header(name, bytes.TrimSpace(value)); err != nil {
			return err
		}
	}
	return nil
}

func (r *request) header(name, value []byte) error {
	switch len(name) { // compares only where the length fits
	case len("expect"):
		if equalFold(name, "expect") {
			r.expect = equalFold(value, "100-continue")
		}
	case len("connection"):
		if equalFold(name, "connection") {
			if equalFold(value, "close") {
				r.keepAlive = false
			} else if equalFold(value, "keep-alive") {
				r.keepAlive = true
			}
		} else if equalFold(name, "x-simulate") {
			r.simulate = value
		}
	case len("x-request-id"): // content-type is as long
		if equalFold(name, "x-request-id") {
			r.id = string(value)
		} else if equalFold(name, "content-type") {
			r.contentType = value
		}
	case len("authorization"):
		if equalFold(name, "authorization") {
			scheme, credentials, _ := bytes.Cut(value, space)
			if equalFold(scheme, "bearer") {
				r.key = credentials
			} else if equalFold(scheme, "basic") {
				r.basic = credentials
			}
		}
	case len("x-api-key"):
		if equalFold(name, "x-api-key") {
			r.key = value
		}
	case len("api-key"):
		if equalFold(name, "api-key") {
			r.key = value
		}
	case len("content-length"):
		if equalFold(name, "content-length") {
			n, err := strconv.ParseUint(string(value), 10, 63)
			if err != nil {
				return errBadRequest
			}
			if n > maxBodyBytes {
				return errTooLarge
			}
			r.bodyLength = int(n)
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			if !equalFold(value, "chunked") {
				return errBadRequest
			}
			r.chunked = true
		}
	}
	return nil
}

var space = []byte(" ")

func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	line, rest = b[:i], b[i+1:]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// intern returns the constant for what nearly every request asks for, so that its head costs no allocation.
func intern(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case pathChat:
		return pathChat
	case pathCompletions:
		return pathCompletions
	case pathEmbeddings:
		return pathEmbeddings
	case pathTokenizer:
		return pathTokenizer
	case pathPredict:
		return pathPredict
	case pathOptimizedPredict:
		return pathOptimizedPredict
	}
	return string(b)
}

// unchunk decodes a chunked body as it grows. The decoded bytes gather in body.
type unchunk struct {
	body []byte
	left int // of the present chunk, with its line end
	tail bool
}

// read consumes what it can of b and returns how much that was and whether the body is complete.
func (u *unchunk) read(b []byte) (used int, done bool, err error) {
	for {
		if u.left > 0 {
			n := min(u.left, len(b)-used)
			data := b[used : used+n]
			if keep := u.left - 2; keep > 0 { // the last two are CR LF
				u.body = append(u.body, data[:min(n, keep)]...)
			}
			u.left -= n
			used += n
			if u.left > 0 {
				return used, false, nil
			}
		}
		end := bytes.IndexByte(b[used:], '\n')
		if end < 0 {
			if len(b)-used > maxHeadBytes {
				return used, false, errTooLarge
			}
			return used, false, nil
		}
		line, _ := cutLine(b[used : used+end+1])
		used += end + 1
		if u.tail { // trailers up to an empty line
			if len(line) == 0 {
				return used, true, nil
			}
			continue
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 63)
		if err != nil {
			return used, false, errBadRequest
		}
		if n+uint64(len(u.body)) > maxBodyBytes {
			return used, false, errTooLarge
		}
		u.left, u.tail = int(n)+2, n == 0
		if u.tail {
			u.left = 0
		}
	}
}
