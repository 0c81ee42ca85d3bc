package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Wire is the description of a response in a format that this package does not know: where in each event, line or reply the
// output, the token counts, the end and errors stand. It is read only once made, and may serve any number of parsers.
type Wire struct {
	name       string
	format     wireFormat
	cumulative bool
	root       place
	events     []string // names of the events that are read; nil = all
	nameInside bool     // an event's name is a value inside it
	endData    []string // data that ends a stream beside [DONE]
	endEvents  []string // names of the events that end one
	bodyEnds   bool     // so does the end of the body
	finishes   bool     // so does a finish reason
	counted    bool     // the reply is a list of items, not text
}

// wireFormat is how a described body is cut into JSON texts.
type wireFormat uint8

const (
	wireAuto   wireFormat = iota // as its first bytes tell
	wireEvents                   // server-sent events
	wireLines                    // a JSON text a line
	wireReply                    // one JSON text
)

var wireFormats = [...]string{"auto", "sse", "ndjson", "json"}

// media is the label that stands for the body's own one.
func (w *Wire) media(label media) media {
	switch w.format {
	case wireEvents:
		return mediaEvents
	case wireLines:
		return mediaLines
	case wireReply:
		return mediaOther
	}
	return label
}

// Streamed reports whether the description is of a stream.
func (w *Wire) Streamed() bool { return w.format != wireReply }

// role is what a place of a JSON text holds.
type role uint8

const (
	roleNone role = iota
	roleText
	roleReasoning
	roleToolName
	roleToolArguments
	roleMedia
	roleToolID
	roleToolIndex
	roleItem
	roleFinish
	roleError
	roleInput
	roleOutput
	roleCached
	roleThought
	roleTotal
	roleCacheRead
	roleCacheWrite
	roleIgnored
)

// place is a node of the tree that a description's pointers make. A value is read as its role says, or, if it is an object or
// an array and the tree goes on, by what stands inside.
type place struct {
	role   role
	names  bool        // its value is the event's name
	tests  []placeTest // values that mean something
	inside []named
	each   *place // all items of an array
	calls  bool   // an item of it is a tool call, or part of one
	plain  bool   // it has a role, and nothing else is to be known of its value
}

type named struct {
	name  string
	index int // the same as an item's number; -1 = it is none
	place *place
}

// placeTest is a value that ends the stream, or, if hides, takes the output out of its event.
type placeTest struct {
	json  string // as it stands in JSON; of a string what it stands for
	text  bool
	hides bool
}

func (p *place) member(name []byte) *place {
	for i := range p.inside {
		// Most names differ at their end, which saves the call that compares all of them.
		if in := &p.inside[i]; len(in.name) == len(name) && (len(name) == 0 || in.name[len(name)-1] == name[len(name)-1]) && in.name == string(name) {
			return in.place
		}
	}
	return nil
}

func (p *place) item(i int) *place {
	for k := range p.inside {
		if p.inside[k].index == i {
			return p.inside[k].place
		}
	}
	return p.each
}

// at returns the place that a checked pointer leads to.
func (p *place) at(pointer string) *place {
	if pointer == "" {
		return p
	}
	for _, token := range strings.Split(pointer[1:], "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		var next *place
		if token == "*" {
			if p.each == nil {
				p.each = &place{}
			}
			next = p.each
		} else if next = p.member([]byte(token)); next == nil {
			next = &place{}
			index := -1
			if n, err := strconv.Atoi(token); err == nil && strconv.Itoa(n) == token {
				index = n
			}
			p.inside = append(p.inside, named{token, index, next})
		}
		p = next
	}
	return p
}

// settle checks that items of an array are named by their numbers or all at once, and marks the arrays of tool calls.
func (p *place) settle() error {
	p.plain = p.role != roleNone && !p.names && p.tests == nil && p.inside == nil && p.each == nil
	for _, in := range p.inside {
		if in.index >= 0 && p.each != nil {
			return fmt.Errorf(`one pointer names item %d of an array and another all its items ("*"); use one of the two`, in.index)
		}
		if err := in.place.settle(); err != nil {
			return err
		}
	}
	if p.each == nil {
		return nil
	}
	p.calls = p.each.has(roleToolName) || p.each.has(roleToolArguments)
	return p.each.settle()
}

// ParseWire reads the description of a response, a JSON object; see docs/wires.md for its fields. name stands for it in messages.
func ParseWire(name string, description []byte) (*Wire, error) {
	w := &Wire{name: name}
	if err := w.describe(description); err != nil {
		return nil, fmt.Errorf("wire %s: %w", name, err)
	}
	return w, nil
}

// part reads the value of one field of the description.
type part func(field string, value json.RawMessage) error

func (w *Wire) describe(description []byte) error {
	var format, text, items, outputs, end, ignored string
	reads := func(r role, given *string) part {
		return func(field string, value json.RawMessage) error {
			*given = field
			return w.pointers(field, value, func(field, pointer string) error { return w.claim(field, pointer, r) })
		}
	}
	filter := ""
	err := object("response", description, map[string]part{
		"format": func(field string, value json.RawMessage) error {
			err := textOf(field, value, &format)
			k := slices.Index(wireFormats[:], format)
			if err == nil && k < 0 {
				err = fmt.Errorf("%s is %q; it is one of %s", field, format, strings.Join(wireFormats[:], ", "))
			}
			w.format = wireFormat(max(k, 0))
			return err
		},
		"text":      reads(roleText, &text),
		"reasoning": reads(roleReasoning, &outputs),
		"toolCalls": func(field string, value json.RawMessage) error {
			outputs = field
			return object(field, value, map[string]part{
				"name": reads(roleToolName, &outputs), "arguments": reads(roleToolArguments, &outputs),
				"id": reads(roleToolID, &ignored), "index": reads(roleToolIndex, &ignored),
			})
		},
		"media":        reads(roleMedia, &text),
		"items":        reads(roleItem, &items),
		"finishReason": reads(roleFinish, &end),
		"error":        reads(roleError, &ignored),
		"ignore":       reads(roleIgnored, &ignored),
		"cumulative":   func(field string, value json.RawMessage) error { return flagOf(field, value, &w.cumulative) },
		"events": func(field string, value json.RawMessage) error {
			return listOf(field, value, func(field string, value json.RawMessage) error {
				var name string
				if err := textOf(field, value, &name); err != nil {
					return err
				}
				w.events = append(w.events, name)
				return nil
			})
		},
		"eventName": func(field string, value json.RawMessage) error {
			filter = field
			return w.pointers(field, value, func(field, pointer string) error {
				w.nameInside = true
				w.root.at(pointer).names = true
				return nil
			})
		},
		"noOutput": func(field string, value json.RawMessage) error {
			return listOf(field, value, func(field string, value json.RawMessage) error { return w.test(field, value, true) })
		},
		"end": func(field string, value json.RawMessage) error {
			end = field
			return listOf(field, value, w.end)
		},
		"usage": func(field string, value json.RawMessage) error {
			return object(field, value, map[string]part{
				"input": reads(roleInput, &ignored), "output": reads(roleOutput, &ignored), "cached": reads(roleCached, &ignored),
				"reasoning": reads(roleThought, &ignored), "total": reads(roleTotal, &ignored),
				"cacheRead": reads(roleCacheRead, &ignored), "cacheWrite": reads(roleCacheWrite, &ignored),
			})
		},
	})
	if err != nil {
		return err
	}
	w.finishes = w.root.has(roleFinish)
	w.counted = items != ""
	switch {
	case format == "":
		return fmt.Errorf("response.format is missing; it is one of %s", strings.Join(wireFormats[:], ", "))
	case text == "" && items == "":
		return errors.New("response.text is missing: a pointer to the output (response.media for audio and images, response.items for a reply that is a list)")
	case items != "" && (text != "" || outputs != ""):
		return errors.New("response.items is for replies without text; leave it or the text out")
	case items != "" && w.format != wireReply:
		return errors.New(`response.items is for whole replies; set response.format to "json"`)
	case w.format != wireReply && end == "":
		return errors.New(`response.end is missing: what ends a stream, such as {"data": "[DONE]"}; or response.finishReason; {"body": true} where nothing but the end of the body does`)
	case w.cumulative && w.root.scattered():
		return errors.New(`response.text: in a response.cumulative stream it stands in one place; leave "*" out`)
	case w.cumulative && w.root.has(roleReasoning):
		return errors.New("response.reasoning cannot be told apart in a response.cumulative stream; leave one out")
	case filter != "" && w.events == nil:
		return errors.New("response.eventName says where the name of an event is; response.events, which lists the names to read, is missing")
	}
	return w.root.settle()
}

// claim gives the place that a pointer leads to a role.
func (w *Wire) claim(field, pointer string, r role) error {
	p := w.root.at(pointer)
	if p.role != roleNone {
		return fmt.Errorf("%s is %q, which another field names, too", field, pointer)
	}
	p.role = r
	return nil
}

func (p *place) has(r role) bool {
	return p.role == r || p.each != nil && p.each.has(r) || slices.ContainsFunc(p.inside, func(in named) bool { return in.place.has(r) })
}

// scattered reports whether the text may stand in all items of an array.
func (p *place) scattered() bool {
	return p.each != nil && p.each.has(roleText) || slices.ContainsFunc(p.inside, func(in named) bool { return in.place.scattered() })
}

// pointers reads a pointer or a list of them.
func (w *Wire) pointers(field string, value json.RawMessage, take func(field, pointer string) error) error {
	return listOf(field, value, func(field string, value json.RawMessage) error {
		var pointer string
		if err := textOf(field, value, &pointer); err != nil {
			return err
		}
		if err := CheckPointer(pointer); err != nil {
			return fmt.Errorf("%s is %q: %w", field, pointer, err)
		}
		return take(field, pointer)
	})
}

// CheckPointer returns what is wrong with a JSON pointer (RFC 6901), nil if nothing is. "" points to the whole text.
func CheckPointer(pointer string) error {
	if pointer != "" && pointer[0] != '/' {
		return errors.New(`a JSON pointer begins with "/", such as /choices/*/delta/content`)
	}
	for i := range pointer {
		if pointer[i] == '~' && (i+1 == len(pointer) || pointer[i+1] != '0' && pointer[i+1] != '1') {
			return errors.New(`in a JSON pointer "~" is written ~0 and "/" inside a name ~1`)
		}
	}
	return nil
}

// end reads one of the ends of a stream.
func (w *Wire) end(field string, value json.RawMessage) error {
	var keys map[string]json.RawMessage
	if json.Unmarshal(value, &keys) == nil && keys["at"] != nil {
		return w.test(field, value, false)
	}
	given := 0
	err := object(field, value, map[string]part{
		"data": func(field string, value json.RawMessage) error {
			given++
			w.endData = append(w.endData, "")
			return textOf(field, value, &w.endData[len(w.endData)-1])
		},
		"event": func(field string, value json.RawMessage) error {
			given++
			w.endEvents = append(w.endEvents, "")
			return textOf(field, value, &w.endEvents[len(w.endEvents)-1])
		},
		"body": func(field string, value json.RawMessage) error {
			given++
			if err := flagOf(field, value, &w.bodyEnds); err != nil || w.bodyEnds {
				return err
			}
			return fmt.Errorf("%s is false; leave it out", field)
		},
		"at": nil, "is": nil,
	})
	if err == nil && given != 1 {
		err = fmt.Errorf(`%s is one of {"data": TEXT}, {"event": NAME}, {"at": POINTER, "is": VALUE} and {"body": true}`, field)
	}
	return err
}

// test reads a value that means something: {"at": POINTER, "is": VALUE}.
func (w *Wire) test(field string, value json.RawMessage, hides bool) error {
	var p *place
	test := placeTest{hides: hides}
	given := false
	err := object(field, value, map[string]part{
		"at": func(field string, value json.RawMessage) error {
			return w.pointers(field, value, func(_, pointer string) error {
				p = w.root.at(pointer)
				return nil
			})
		},
		"is": func(field string, value json.RawMessage) error {
			given = true
			switch trimmed := bytes.TrimSpace(value); trimmed[0] {
			case '"':
				test.text = true
				return textOf(field, value, &test.json)
			case '{', '[', 'n':
				return fmt.Errorf("%s is %s; it is a text, a number, true or false", field, trimmed)
			default:
				test.json = string(trimmed)
				return nil
			}
		},
	})
	if err == nil && (p == nil || !given) {
		err = fmt.Errorf(`%s is {"at": POINTER, "is": VALUE}`, field)
	}
	if err == nil {
		p.tests = append(p.tests, test)
	}
	return err
}

// object reads a JSON object none of whose fields may be unknown.
func object(field string, value json.RawMessage, parts map[string]part) error {
	decoder := json.NewDecoder(bytes.NewReader(value))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') || !json.Valid(value) {
		return fmt.Errorf("%s is no JSON object", field)
	}
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		name, _ := token.(string)
		var inner json.RawMessage
		if err := decoder.Decode(&inner); err != nil {
			return fmt.Errorf("%s.%s: %w", field, name, err)
		}
		read := parts[name]
		switch {
		case read == nil:
			names := make([]string, 0, len(parts))
			for known, read := range parts {
				if read != nil {
					names = append(names, known)
				}
			}
			slices.Sort(names)
			return fmt.Errorf("%s has an unknown field %q; it has %s", field, name, strings.Join(names, ", "))
		case seen[name]:
			return fmt.Errorf("%s.%s is given twice", field, name)
		}
		seen[name] = true
		if err := read(field+"."+name, inner); err != nil {
			return err
		}
	}
	return nil
}

// listOf reads one value or a list of at least one.
func listOf(field string, value json.RawMessage, read part) error {
	if value[0] != '[' {
		return read(field, value)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(value, &all); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	if len(all) == 0 {
		return fmt.Errorf("%s is empty; leave it out", field)
	}
	for i, each := range all {
		if err := read(fmt.Sprintf("%s[%d]", field, i), each); err != nil {
			return err
		}
	}
	return nil
}

func textOf(field string, value json.RawMessage, into *string) error {
	if value[0] != '"' || json.Unmarshal(value, into) != nil {
		return fmt.Errorf("%s is %s; it is a text", field, oneLine(value, 60))
	}
	return nil
}

func flagOf(field string, value json.RawMessage, into *bool) error {
	if json.Unmarshal(value, into) != nil || string(value) == "null" {
		return fmt.Errorf("%s is %s; it is true or false", field, oneLine(value, 60))
	}
	return nil
}
