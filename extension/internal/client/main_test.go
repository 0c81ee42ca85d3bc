package client

import (
	"testing"

	"go.uber.org/goleak"
)

// readerThread stays for the process, on purpose.
var readerThread = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/tokenclock/tokenclock/extension/internal/reader.runThread"),
	goleak.IgnoreAnyFunction("github.com/tokenclock/tokenclock/extension/internal/reader.(*Reader).dispatch"),
	goleak.IgnoreAnyFunction("github.com/tokenclock/tokenclock/extension/internal/ring.(*Ring).serve"),
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, readerThread...) }
