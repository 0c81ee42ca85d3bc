package wiretap

import (
	"bytes"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
)

// Moment is when something was complete on the wire, in nanoseconds since the Unix epoch; 0 = not captured.
type Moment struct {
	SentNs    int64 `json:"sentNs"`    // as it left a host
	ArrivedNs int64 `json:"arrivedNs"` // as it arrived at one
}

// at is the moment of the byte at an offset.
func (d *Direction) at(offset int) Moment {
	return Moment{d.Sent.TimeNs(offset), d.Arrived.TimeNs(offset)}
}

// Event is one event of an SSE response; its moment is that of the last byte of the blank line that ends it.
type Event struct {
	Moment
	Data []byte // the data lines, joined by newlines
}

// Exchange is one request of HTTP/1.1 without TLS and its response, as far as it came.
type Exchange struct {
	Flow     *Flow
	ID       string // X-Request-Id
	Path     string
	Request  Moment // of the request's last byte
	Status   int    // 0 = no response
	Events   []Event
	Response Moment // of the response's last byte; zero where its end did not come
	Complete bool   // the response's end came
}

// Exchanges reads the requests and responses of all flows.
func (c *Capture) Exchanges() ([]Exchange, error) {
	var all []Exchange
	for _, f := range c.Flows {
		exchanges, err := f.Exchanges()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Client, err)
		}
		all = append(all, exchanges...)
	}
	return all, nil
}

// Exchanges reads the requests and responses of one connection, in order.
func (f *Flow) Exchanges() ([]Exchange, error) {
	requests := message{data: f.FromClient.Bytes()}
	responses := message{data: f.FromServer.Bytes()}
	var all []Exchange
	for requests.next < len(requests.data) {
		if err := requests.read(false); err != nil {
			return nil, fmt.Errorf("request %d: %w", len(all)+1, err)
		}
		if !requests.complete {
			break
		}
		words := strings.Fields(requests.line)
		if len(words) < 2 {
			return nil, fmt.Errorf("request %d begins with %q", len(all)+1, requests.line)
		}
		x := Exchange{Flow: f, ID: requests.header.Get("X-Request-Id"), Path: words[1], Request: f.FromClient.at(requests.next - 1)}
		for responses.next < len(responses.data) {
			if err := responses.read(true); err != nil {
				return nil, fmt.Errorf("response %d: %w", len(all)+1, err)
			}
			words := strings.Fields(responses.line)
			if len(words) < 2 {
				return nil, fmt.Errorf("response %d begins with %q", len(all)+1, responses.line)
			}
			x.Status, _ = strconv.Atoi(words[1])
			if x.Status/100 != 1 {
				break
			}
		}
		if x.Status != 0 {
			x.Events = responses.events(&f.FromServer)
			if x.Complete = responses.complete; x.Complete {
				x.Response = f.FromServer.at(responses.next - 1)
			}
		}
		all = append(all, x)
	}
	return all, nil
}

// message reads HTTP/1.1 messages one after the other.
type message struct {
	data     []byte
	next     int // offset behind the last message
	line     string
	header   textproto.MIMEHeader
	body     []byte
	places   []int // offset in data of each byte of the body
	complete bool
}

var errFraming = errors.New("the framing of the body is not understood")

// read takes the next message; complete reports whether its end is there. A response without framing lasts until the end.
func (m *message) read(response bool) error {
	m.body, m.places, m.complete = nil, nil, false
	head := bytes.Index(m.data[m.next:], []byte("\r\n\r\n"))
	if head < 0 {
		m.line, m.header, m.next = "cut off", nil, len(m.data)
		return nil
	}
	lines := strings.Split(string(m.data[m.next:m.next+head]), "\r\n")
	m.line, m.header = lines[0], textproto.MIMEHeader{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		m.header.Add(name, strings.TrimSpace(value))
	}
	at := m.next + head + 4
	informational := response && strings.HasPrefix(strings.TrimPrefix(m.line, "HTTP/1.1 "), "1")
	switch length := m.header.Get("Content-Length"); {
	case strings.EqualFold(m.header.Get("Transfer-Encoding"), "chunked"):
		return m.chunks(at)
	case length != "":
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 {
			return errFraming
		}
		m.appendBody(at, min(n, len(m.data)-at))
		m.complete = len(m.body) == n
	case response && !informational:
		m.appendBody(at, len(m.data)-at)
	default:
		m.next, m.complete = at, true
	}
	return nil
}

// appendBody appends n bytes from an offset to the body.
func (m *message) appendBody(at, n int) {
	m.body = append(m.body, m.data[at:at+n]...)
	for i := range n {
		m.places = append(m.places, at+i)
	}
	m.next = at + n
}

func (m *message) chunks(at int) error {
	for {
		end := bytes.Index(m.data[at:], []byte("\r\n"))
		if end < 0 {
			m.next = len(m.data)
			return nil
		}
		text, _, _ := strings.Cut(string(m.data[at:at+end]), ";")
		size, err := strconv.ParseUint(strings.TrimSpace(text), 16, 31)
		if err != nil {
			return errFraming
		}
		at += end + 2
		if size == 0 {
			break
		}
		if at+int(size)+2 > len(m.data) {
			m.appendBody(at, min(int(size), len(m.data)-at))
			m.next = len(m.data)
			return nil
		}
		m.appendBody(at, int(size))
		at += int(size) + 2
	}
	for { // trailers
		end := bytes.Index(m.data[at:], []byte("\r\n"))
		if end < 0 {
			m.next = len(m.data)
			return nil
		}
		at += end + 2
		if end == 0 {
			m.next, m.complete = at, true
			return nil
		}
	}
}

// events splits the body into SSE events. Lines end in LF, CRLF or CR; an event without data is none.
func (m *message) events(d *Direction) []Event {
	if !strings.HasPrefix(m.header.Get("Content-Type"), "text/event-stream") {
		return nil
	}
	var events []Event
	var data [][]byte
	for at := 0; at < len(m.body); {
		end := bytes.IndexAny(m.body[at:], "\r\n")
		if end < 0 {
			break
		}
		line := m.body[at : at+end]
		last := at + end
		if m.body[last] == '\r' && last+1 < len(m.body) && m.body[last+1] == '\n' {
			last++
		}
		at = last + 1
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, bytes.TrimPrefix(value, []byte(" ")))
		}
		if len(line) == 0 && len(data) > 0 {
			events = append(events, Event{d.at(m.places[last]), bytes.Join(data, []byte("\n"))})
			data = nil
		}
	}
	return events
}

// Record is one TLS record: its type (23 = application data), how long it is with its header, and when it was complete.
type Record struct {
	Moment
	Type   byte
	Length int
}

// Records reads a direction as TLS records, as far as they came whole.
func (d *Direction) Records() []Record {
	const headerBytes = 5
	var records []Record
	data := d.Bytes()
	for at := 0; at+headerBytes <= len(data); {
		length := headerBytes + int(data[at+3])<<8 + int(data[at+4])
		if at+length > len(data) {
			break
		}
		records = append(records, Record{d.at(at + length - 1), data[at], length})
		at += length
	}
	return records
}
