package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"go.k6.io/k6/v2/ext"
)

func TestBinary_HasBothModules(t *testing.T) {
	assert.Contains(t, ext.Get(ext.JSExtension), "k6/x/tokenclock")
	assert.Contains(t, ext.Get(ext.JSExtension), "k6/x/sse")
}
