package stream

// What an output chunk is made of.
const (
	outContent   uint8 = 1 << iota // content, text or a refusal
	outReasoning                   //
	outTool                        // a tool call's name or arguments
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
	failed  bool   // it is an error
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

// MaxChoices is how many choices of one response are told apart; higher indices share the last place.
const MaxChoices = 64

func (f *facts) setText(kind slotKind, raw []byte) {
	if len(raw) == 0 {
		return
	}
	switch kind {
	case slotContent:
		f.output |= outContent
		f.text = raw
	case slotRefusal:
		f.output |= outContent
	case slotReasoning:
		f.output |= outReasoning
	case slotTool:
		f.output |= outTool
	}
}

func (f *facts) setCount(kind slotKind, n int) {
	switch kind {
	case slotChoice:
		f.choice = min(n, MaxChoices-1)
		f.seen = 1 << f.choice
	case slotInput:
		f.usage.input = n
	case slotOutput:
		f.usage.output = n
	case slotCached:
		f.usage.cached = n
	case slotThought:
		f.usage.reasoning = n
	case slotTotal:
		f.usage.total = n
	}
}
