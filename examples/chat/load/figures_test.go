package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFigures(t *testing.T) {
	f := figures{Expected: 100, Delivered: 99, Latency: [][2]int{{30, 1}, {10, 89}}}
	f.add(figures{Delivered: 1, Latency: [][2]int{{20, 10}}})
	for _, c := range []struct{ share, want float64 }{{0, 1}, {0.5, 1}, {0.88, 1}, {0.9, 2}, {0.985, 2}, {0.99, 3}, {1, 3}} {
		assert.Equal(t, c.want, f.quantile(c.share), "quantile(%v)", c.share)
	}
	assert.True(t, f.clean(), "%+v is not clean", f)
	for _, spoiled := range []figures{{Delivered: 1}, {Expected: 1}, {Twice: 1}, {Disorder: 1}, {Disconnects: 1}, {Errors: []string{"x"}}} {
		spoiled.add(f)
		assert.False(t, spoiled.clean(), "%+v is clean", spoiled)
	}
	assert.False(t, (&figures{}).clean(), "clean although nothing was expected")
	var out strings.Builder
	f.Disorder = 1
	f.print(&out, map[string]int{"a": 1, "b": 2})
	got := out.String()
	assert.Contains(t, got, "said        3 messages in 2 rooms", "printed")
	assert.Contains(t, got, "NOT everything", "printed")
}
