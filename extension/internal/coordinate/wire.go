// Package coordinate lets several instances of k6 run one load: a coordinator, at which the runners meet before each level
// and to which they send their records as these grow.
//
// The protocol is JSON over HTTP, every request a POST that a runner may repeat. A runner asks for the run (its id and
// salt), registers its part, meets the others, and appends to its records until it says that it is done. The coordinator
// never calls a runner: its replies to the records, which come at least every heartbeat, say when the run has ended.
package coordinate

import "time"

// Paths of the protocol.
const (
	pathRun      = "/v1/run"
	pathTime     = "/v1/time"
	pathRegister = "/v1/register"
	pathMeet     = "/v1/meet"
	pathRecords  = "/v1/records"
)

const (
	heartbeat = 500 * time.Millisecond // longest time between two requests of a runner
	longPoll  = 10 * time.Second       // longest time that the coordinator keeps a runner waiting for its reply
	maxChunk  = 4 << 20                // bytes of records in one request
)

// runReply is what a runner learns of the run before anything else.
type runReply struct {
	Run     string `json:"run"` // id, drawn by the coordinator
	Salt    string `json:"salt"`
	Runners int    `json:"runners"`
}

type timeReply struct {
	UnixNs int64 `json:"unixNs"`
}

// Facts are what all runners of a run have in common, or must have within limits.
type Facts struct {
	Scenario string `json:"scenario"`
	// Build is the sha256 of the runner's own program, in hex.
	Build string `json:"build"`
	// Settings are those that decide what is sent and how it is judged, without secrets.
	Settings map[string]any `json:"settings"`
	// OffsetNs is the coordinator's clock less the runner's wall clock, as that was when the runner's process began.
	OffsetNs      int64 `json:"offsetNs"`
	UncertaintyNs int64 `json:"uncertaintyNs"`
}

// registration is a runner's first request with its part.
type registration struct {
	Run      string `json:"run"`
	Instance string `json:"instance"` // of the process
	Part     int    `json:"part"`     // from 1
	Of       int    `json:"of"`
	Facts
}

type registered struct {
	LostAfterMs int64 `json:"lostAfterMs"`
}

// meetRequest says that a runner has come to a place in the run and waits there for the others.
type meetRequest struct {
	Run      string `json:"run"`
	Instance string `json:"instance"`
	Part     int    `json:"part"`
	At       string `json:"at"`
	Number   int    `json:"number"`
	Start    bool   `json:"start"` // a common start a little ahead is wanted
}

type meetReply struct {
	Wait        bool  `json:"wait,omitempty"` // ask again: not all have come yet
	StartUnixNs int64 `json:"startUnixNs,omitempty"`
	Number      int   `json:"number,omitempty"` // the largest of all runners' numbers
}

type recordsReply struct {
	Held int64  `json:"held"`          // bytes that the coordinator has written
	End  string `json:"end,omitempty"` // why the run has ended for all
}

// problem is the body of every refusal.
type problem struct {
	Error string `json:"error"`
}
