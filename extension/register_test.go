package tokenclock

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"go.k6.io/k6/v2/ext"
)

func TestTheRootRegistersItsOwnNamesOnly(t *testing.T) {
	assert.Contains(t, ext.Get(ext.JSExtension), "k6/x/tokenclock")
	assert.Contains(t, ext.Get(ext.OutputExtension), "records")
	assert.Contains(t, ext.Get(ext.SubcommandExtension), "tokenclock")
	assert.NotContains(t, ext.Get(ext.JSExtension), "k6/x/sse", "a binary with xk6-sse would panic")
}
