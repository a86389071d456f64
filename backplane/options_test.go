package backplane

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane/internal/inbound"
	"github.com/crossroom/crossroom/broker"
)

// The defaults are those in the documentation of Options, in both packages.
func TestDefaults(t *testing.T) {
	for _, c := range []struct{ given, want Options }{
		{Options{}, Options{RequestsTimeout: time.Second, Heartbeat: time.Second, PeerTimeout: 3500 * time.Millisecond, StallTimeout: 400 * time.Millisecond}},
		{
			Options{RequestsTimeout: 100 * time.Millisecond, Heartbeat: 2 * time.Second},
			Options{RequestsTimeout: 100 * time.Millisecond, Heartbeat: 2 * time.Second, PeerTimeout: 7 * time.Second, StallTimeout: 50 * time.Millisecond},
		},
		{
			Options{RequestsTimeout: time.Minute, StallTimeout: -1},
			Options{RequestsTimeout: time.Minute, Heartbeat: time.Second, PeerTimeout: 3500 * time.Millisecond, StallTimeout: -1},
		},
		{
			Options{RequestsTimeout: time.Minute},
			Options{RequestsTimeout: time.Minute, Heartbeat: time.Second, PeerTimeout: 3500 * time.Millisecond, StallTimeout: time.Second},
		},
	} {
		got, err := c.given.withDefaults()
		require.NoError(t, err)
		assert.Equal(t, c.want.RequestsTimeout, got.RequestsTimeout, "%+v", c.given)
		assert.Equal(t, c.want.Heartbeat, got.Heartbeat, "%+v", c.given)
		assert.Equal(t, c.want.PeerTimeout, got.PeerTimeout, "%+v", c.given)
		assert.Equal(t, c.want.StallTimeout, got.StallTimeout, "%+v", c.given)
	}
}

// The package documentation states the limits of the code.
func TestLimitsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	doc := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "//", "")), " ")
	for _, sentence := range []string{
		fmt.Sprintf("holds %d,%03d messages and %d MiB of payloads", inbound.MaxMessages/1000, inbound.MaxMessages%1000, inbound.MaxBytes>>20),
		"a name at most broker.MaxNameLen",
	} {
		assert.Contains(t, doc, sentence, "doc.go does not say")
	}
	if broker.MaxNameLen != 4096 { // as in wire.CheckName
		t.Errorf("a name has at most %d bytes", broker.MaxNameLen)
	}
}
