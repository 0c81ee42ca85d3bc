// Command cmd captures a TCP port for tests that are not written in Go: cmd -port N -out FILE [-interface lo]. It prints
// "wiretap: capturing" when it captures, ends when its standard input ends, and then writes the exchanges as JSON. It exits
// with 3 where it may not capture; what it says then is the reason.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/tokenclock/tokenclock/extension/internal/wiretap"
)

// report is the file. Times are nanoseconds behind ZeroUnixNs, so that JavaScript's numbers hold them; -1 = not captured.
type report struct {
	ZeroUnixNs string     `json:"zeroUnixNs"`
	Drops      int        `json:"drops"`
	Exchanges  []exchange `json:"exchanges"`
}

type exchange struct {
	ID         string `json:"id"`
	Path       string `json:"path"`
	ClientPort uint16 `json:"clientPort"`
	Request    moment `json:"request"`
	Status     int    `json:"status"`
	// Events holds [sent, arrived, bytes of data] of each event of an SSE response.
	Events   [][3]int64 `json:"events"`
	Response moment     `json:"response"`
	Complete bool       `json:"complete"`
}

type moment struct {
	SentNs    int64 `json:"sentNs"`
	ArrivedNs int64 `json:"arrivedNs"`
}

func main() {
	device := flag.String("interface", "lo", "interface to capture on")
	port := flag.Int("port", 0, "the server's TCP port")
	out := flag.String("out", "", "file to write")
	flag.Parse()
	if *port < 1 || *port > 65535 || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*device, *port, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, wiretap.ErrNotAllowed) {
			os.Exit(3)
		}
		os.Exit(1)
	}
}

func run(device string, port int, out string) error {
	tap, err := wiretap.Open(device, port)
	if err != nil {
		return err
	}
	fmt.Println("wiretap: capturing")
	_, _ = io.Copy(io.Discard, os.Stdin)
	capture, err := tap.Close()
	if err != nil {
		return err
	}
	exchanges, err := capture.Exchanges()
	if err != nil {
		return err
	}
	b, err := json.Marshal(reportOf(capture.Drops, exchanges))
	if err != nil {
		return err
	}
	return os.WriteFile(out, b, 0o644)
}

func reportOf(drops int, exchanges []wiretap.Exchange) report {
	zeroNs := int64(0)
	if len(exchanges) > 0 {
		zeroNs = max(exchanges[0].Request.SentNs, exchanges[0].Request.ArrivedNs)
	}
	since := func(ns int64) int64 {
		if ns == 0 {
			return -1
		}
		return ns - zeroNs
	}
	// A first second before the first request, so that no time of another connection is negative.
	zeroNs -= 1e9
	r := report{ZeroUnixNs: strconv.FormatInt(zeroNs, 10), Drops: drops, Exchanges: []exchange{}}
	of := func(m wiretap.Moment) moment { return moment{since(m.SentNs), since(m.ArrivedNs)} }
	for _, x := range exchanges {
		e := exchange{
			ID: x.ID, Path: x.Path, ClientPort: x.Flow.Client.Port(), Request: of(x.Request), Status: x.Status, Events: [][3]int64{},
			Response: of(x.Response), Complete: x.Complete,
		}
		for _, event := range x.Events {
			e.Events = append(e.Events, [3]int64{since(event.SentNs), since(event.ArrivedNs), int64(len(event.Data))})
		}
		r.Exchanges = append(r.Exchanges, e)
	}
	return r
}
