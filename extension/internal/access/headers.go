package access

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tokenclock/tokenclock/extension/internal/auth"
)

// Headers are those that a script sets, with placeholders in them.
type Headers struct {
	// Static are the same in each request.
	Static []auth.Field
	// Keyed carry the run's key: auth.Placeholder stands for it.
	Keyed []auth.Field
	// Authorized reports whether there is one of these, or requests are to be signed.
	Authorized bool

	filled []filled
}

// filled is a header whose value differs from request to request: literal texts, and placeholders between them.
type filled struct {
	name  string
	texts []string // one more than names
	names []string
}

// Values are what placeholders stand for.
type Values struct {
	ID            string // of the request, its X-Request-Id
	Session       string // of the conversation that it belongs to; "" = it is one by itself
	Level         string
	Index, Serial int // in its level, and in the run
	VU            uint64
}

// placeholders by name; docs/keys.md describes them.
var placeholders = map[string]func(v Values) string{
	"uuid": func(Values) string { return uuid() },
	"id":   func(v Values) string { return v.ID },
	"session": func(v Values) string {
		if v.Session == "" {
			return v.ID
		}
		return v.Session
	},
	"level":  func(v Values) string { return v.Level },
	"index":  func(v Values) string { return strconv.Itoa(v.Index) },
	"serial": func(v Values) string { return strconv.Itoa(v.Serial) },
	"vu":     func(v Values) string { return strconv.FormatUint(v.VU, 10) },
}

var placeholder = regexp.MustCompile(`\{\{\s*(.*?)\s*\}\}`)

// signature stands for the Authorization of a signed request, as auth.Placeholder does for a key.
const signature = "{{signature}}"

// ParseHeaders takes the headers of a script apart. The error of an unknown placeholder names the header and not its value.
func ParseHeaders(of map[string]string) (*Headers, error) {
	h := &Headers{}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		value := of[name]
		if strings.Contains(value, auth.Placeholder) || value == signature {
			h.Authorized = true
			if rest := strings.ReplaceAll(value, auth.Placeholder, ""); strings.Contains(rest, "{{") && value != signature {
				return nil, fmt.Errorf("header %s holds {{key}} beside another placeholder; use it alone", name)
			}
			if value != signature {
				h.Keyed = append(h.Keyed, auth.Field{Name: name, Value: value})
			}
			continue
		}
		if !strings.Contains(value, "{{") {
			h.Static = append(h.Static, auth.Field{Name: name, Value: value})
			continue
		}
		f := filled{name: name}
		last := 0
		for _, at := range placeholder.FindAllStringSubmatchIndex(value, -1) {
			word := value[at[2]:at[3]]
			if placeholders[word] == nil {
				return nil, fmt.Errorf("header %s holds a placeholder that is none of %s", name, known())
			}
			f.texts = append(f.texts, value[last:at[0]])
			f.names = append(f.names, word)
			last = at[1]
		}
		f.texts = append(f.texts, value[last:])
		if strings.Contains(strings.Join(f.texts, ""), "{{") {
			return nil, fmt.Errorf("header %s holds {{ without }}; placeholders are %s", name, known())
		}
		h.filled = append(h.filled, f)
	}
	return h, nil
}

func known() string {
	names := append(slices.Sorted(maps.Keys(placeholders)), "key")
	return "{{" + strings.Join(names, "}}, {{") + "}}"
}

// Fill returns the headers of one request that differ from request to request.
func (h *Headers) Fill(v Values) []auth.Field {
	var out []auth.Field
	for _, f := range h.filled {
		var b strings.Builder
		for k, name := range f.names {
			b.WriteString(f.texts[k])
			b.WriteString(placeholders[name](v))
		}
		b.WriteString(f.texts[len(f.names)])
		out = append(out, auth.Field{Name: f.name, Value: b.String()})
	}
	return out
}

// All returns the static headers and the filled ones, for a request that is not measured.
func (h *Headers) All(v Values) []auth.Field { return append(slices.Clone(h.Static), h.Fill(v)...) }

// uuid returns a random UUID (RFC 9562, version 4).
func uuid() string {
	a, b := rand.Uint64()&^0xf000|0x4000, rand.Uint64()&^(3<<62)|2<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
}

// NewTrace returns the identity of a new trace and the traceparent of its first span, sampled (W3C Trace Context, 3.2).
func NewTrace() (id, traceparent string) {
	var high, low, span uint64
	for high == 0 {
		high = rand.Uint64()
	}
	low = rand.Uint64()
	for span == 0 {
		span = rand.Uint64()
	}
	id = fmt.Sprintf("%016x%016x", high, low)
	return id, fmt.Sprintf("00-%s-%016x-01", id, span)
}
