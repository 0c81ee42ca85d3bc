package stream

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Neither lines nor events under the name of JSON cost an allocation once the parser has its buffers.
func TestMislabelledBodiesAllocateNothing(t *testing.T) {
	for name, event := range map[string]func(int, string) string{"lines": chatLine, "events": chatEvent} {
		t.Run(name, func(t *testing.T) {
			chunks := chunkEvents(50, event)
			last := finished("stop") + "\n"
			if name == "events" {
				last = data(finished("stop"))[0]
			}
			head, end := []byte(jsonHead), fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(last), last)
			var p Parser
			respond := func() {
				p.Reset(Options{API: Chat})
				p.Feed(head, 1)
				for i, chunk := range chunks {
					p.Feed(chunk[:30], int64(i))
					p.Feed(chunk[30:], int64(i))
				}
				p.Feed(end, 99)
			}
			respond()
			require.Equal(t, None, p.Result().Failure, p.Result().Message)
			require.Len(t, p.Result().Arrivals, 50)
			require.Zero(t, testing.AllocsPerRun(20, respond))
		})
	}
}
