package sse

import (
	"net/http"
	"strings"

	"github.com/tokenclock/tokenclock/extension/internal/client"
)

// Response is what sse.open returns.
type Response struct {
	URL     string            `js:"url" json:"url"`
	Status  int               `js:"status" json:"status"` // 0 where no response came
	Headers map[string]string `js:"headers" json:"headers"`
	Error   string            `js:"error" json:"error"` // why the stream ended early; "" = it did not, or the script closed it
	// SentMs is when the request was handed to the kernel, on the clock of Event.ArrivalMs; 0 = it never was.
	SentMs float64 `js:"sentMs" json:"sentMs"`
}

func newResponse(url string, resp *http.Response, x *client.Exchange, err error) *Response {
	r := &Response{URL: url, Headers: map[string]string{}}
	if x != nil {
		r.SentMs = unixMs(x.SentNs)
	}
	if err != nil {
		r.Error = err.Error()
	}
	if resp != nil {
		r.Status = resp.StatusCode
		for name, values := range resp.Header {
			r.Headers[name] = strings.Join(values, ", ")
		}
	}
	return r
}
