package sse

import (
	"bytes"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// Event is what a callback of client.on("event") gets.
type Event struct {
	ID      string `js:"id" json:"id"`
	Comment string `js:"comment" json:"comment"`
	Name    string `js:"name" json:"name"`
	Data    string `js:"data" json:"data"`
	// ArrivalMs is when the end of the event arrived: milliseconds since the Unix epoch on the run's monotonic clock, in
	// steps of a quarter of a microsecond; the kernel's receive time where there is one.
	ArrivalMs float64 `js:"arrivalMs" json:"arrivalMs"`

	atNs int64 // the same on package clock
}

// newEvent copies a decoded event. Where xk6-sse differs from the standard it follows xk6-sse: line breaks at the end of
// the data are cut off, and of several comments the last is kept.
func newEvent(ev stream.Event) *Event {
	return &Event{
		ID: string(ev.ID), Name: string(ev.Name),
		Comment:   string(ev.Comment[bytes.LastIndexByte(ev.Comment, '\n')+1:]),
		Data:      string(bytes.TrimRight(ev.Data, "\r\n")),
		ArrivalMs: unixMs(ev.AtNs), atNs: ev.AtNs,
	}
}

// unixMs turns a time of package clock into milliseconds since the Unix epoch; 0 stays 0.
func unixMs(ns int64) float64 {
	if ns == 0 {
		return 0
	}
	return float64(clock.StartUnixNs()+ns) / 1e6
}
