package simulate

// tokenBytes is the tokenizer: a token is four bytes of text, the last one possibly fewer. Every token of an answer is
// four bytes, too, so that text which comes back as a prompt counts as many tokens as it was sent in.
const tokenBytes = 4

// vocabulary holds the texts of tokens; all are safe inside a JSON string.
type vocabulary struct {
	plain   [1024]string
	wide    []string // of characters outside ASCII
	running []byte   // a text of many tokens
}

func newVocabulary() *vocabulary {
	v := &vocabulary{wide: []string{"🙂", "🚀", "a漢", "éü", " €", "ßö", "Жя", "語x"}}
	const consonants, vowels = "bdfghklmnprstvwz", "aeio"
	for i := range v.plain {
		v.plain[i] = string([]byte{' ', consonants[i&15], vowels[i>>4&3], consonants[i>>6&15]})
	}
	state := textState(1)
	v.running = v.appendText(nil, &state, 16<<10, false)
	return v
}

// tokensOf counts the tokens of a text.
func tokensOf(text string) int { return (len(text) + tokenBytes - 1) / tokenBytes }

// textState draws the tokens of one generation.
type textState uint64

func (t *textState) next() uint64 {
	*t = *t*6364136223846793005 + 1442695040888963407
	return uint64(*t) >> 33
}

// appendText appends n tokens of text.
func (v *vocabulary) appendText(b []byte, t *textState, n int, wide bool) []byte {
	for range n {
		if wide {
			b = append(b, v.wide[t.next()%uint64(len(v.wide))]...)
		} else {
			b = append(b, v.plain[t.next()%uint64(len(v.plain))]...)
		}
	}
	return b
}

// mix spreads a seed and a number over all bits (splitmix64's finalizer).
func mix(seed, number uint64) uint64 {
	x := seed + number*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// appendRunning appends n tokens copied from a running text: for replies of hundreds of thousands.
func (v *vocabulary) appendRunning(b []byte, n int) []byte {
	for left := n * tokenBytes; left > 0; {
		part := min(left, len(v.running))
		b = append(b, v.running[:part]...)
		left -= part
	}
	return b
}
