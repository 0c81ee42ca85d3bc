package stream

// What an output chunk is made of.
const (
	outContent   uint8 = 1 << iota // content, text or a refusal
	outReasoning                   //
	outTool                        // a tool call's name or arguments
	outMedia                       // audio or an image; its size says nothing about tokens
)

// facts are what one event, or one reply that is not streamed, says. Slices point into the event.
type facts struct {
	output  uint8  // outContent...
	text    []byte // content of choice 0 between its quotes
	choices int    // choices it has an entry for
	choice  int    // index of the last of them, below MaxChoices
	seen    uint64 // indices of the choices, a bit each
	ended   uint64 // those that it gives a finish reason
	finish  []byte
	usage   usage
	done    bool   // the API's own end of the stream
	ends    bool   // events like it say which of them is the last; API JSON only
	whole   bool   // its output is the answer so far, not what is new
	shape   shape  // whether the API defines such a thing
	failed  bool   // it is an error
	faulty  bool   // it has a code that means failure, under a name that no API defines
	message []byte // the error's message between its quotes, or the error's JSON
	quoted  bool   // message is the inside of a JSON string
	items   int    // embeddings: entries of data; responses and messages: entries of output or content
}

// usage is what a usage object says.
type usage struct {
	known       bool // it has a count
	outputKnown bool
	input       int
	output      int
	cached      int
	cachedKnown bool // cached or cacheRead was named
	reasoning   int
	total       int
	cacheRead   int // Anthropic counts these two apart from input
	cacheWrite  int
}

// apart reports whether output leaves reasoning out, as xAI's API has it: the total holds both.
func (u *usage) apart() bool {
	return u.reasoning > 0 && u.total > 0 && u.total == u.input+u.output+u.reasoning
}

// generated is the number of tokens that the server generated, reasoning included.
func (u *usage) generated() int {
	if u.apart() {
		return u.output + u.reasoning
	}
	return u.output
}

// contradictory reports whether the counts cannot all be true: the total holds more than the parts (Gemini's leaves out
// the thinking that it does not name), or the reasoning is larger than the output that should hold it.
func (u *usage) contradictory() bool {
	return u.total > u.input+u.cacheRead+u.cacheWrite+u.generated() || u.reasoning > u.generated()
}

// add adds the usage of one more choice. All have the same prompt.
func (u *usage) add(other *usage) {
	if !u.known {
		*u = *other
		return
	}
	u.output, other.output = u.generated(), other.generated()
	u.total = 0 // it counts the prompt, too
	u.known, u.outputKnown = true, u.outputKnown || other.outputKnown
	u.input, u.cached = max(u.input, other.input), max(u.cached, other.cached)
	u.cachedKnown = u.cachedKnown || other.cachedKnown
	u.output += other.output
	u.reasoning += other.reasoning
}

// shape says how much of the API's an object is.
type shape uint8

const (
	shapeUnknown shape = iota // the API defines no such thing
	shapeEvent                // it may stand in a stream
	shapeAnswer               // it may also be a whole reply
)

// MaxChoices is how many choices of one response are distinguished; higher indices share the last place.
const MaxChoices = 64

func (f *facts) setText(kind blankKind, raw []byte) {
	if len(raw) == 0 {
		return
	}
	switch kind {
	case blankContent:
		f.output |= outContent
		f.text = raw
	case blankRefusal:
		f.output |= outContent
	case blankReasoning:
		f.output |= outReasoning
	case blankTool:
		f.output |= outTool
	case blankMedia:
		f.output |= outMedia
	}
}

func (f *facts) setCount(kind blankKind, n int) {
	switch kind {
	case blankChoice:
		f.choice = min(n, MaxChoices-1)
		f.seen = 1 << f.choice
	case blankInput:
		f.usage.input = n
	case blankOutput:
		f.usage.output = n
	case blankCached:
		f.usage.cached = n
	case blankThought:
		f.usage.reasoning = n
	case blankTotal:
		f.usage.total = n
	}
}
