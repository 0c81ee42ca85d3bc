package sse

import "github.com/grafana/sobek"

// Client is what the script's function gets: it registers callbacks, and can end the stream.
type Client struct {
	// SentMs is when the request was handed to the kernel, on the clock of Event.ArrivalMs.
	SentMs float64 `js:"sentMs"`

	handlers map[string][]sobek.Callable
	closed   bool
}

// On registers a callback for "open", "event" or "error". There may be several; what is no function is ignored.
func (c *Client) On(event string, handler sobek.Value) {
	if call, ok := sobek.AssertFunction(handler); ok {
		c.handlers[event] = append(c.handlers[event], call)
	}
}

// Close ends the stream: no callback is called any more, and sse.open returns.
func (c *Client) Close() { c.closed = true }

// fire calls the callbacks in the order of their registration; an exception in one of them ends the call.
func (c *Client) fire(event string, args ...sobek.Value) error {
	for _, call := range c.handlers[event] {
		if _, err := call(sobek.Undefined(), args...); err != nil {
			return err
		}
	}
	return nil
}
