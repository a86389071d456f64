package backplane

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/inbound"
	"github.com/crossroom/crossroom/broker"
)

// The defaults are those of the documentation of Options, here and in adapter.
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
		if err != nil {
			t.Fatal(err)
		}
		if got.RequestsTimeout != c.want.RequestsTimeout || got.Heartbeat != c.want.Heartbeat || got.PeerTimeout != c.want.PeerTimeout || got.StallTimeout != c.want.StallTimeout {
			t.Errorf("%+v became %+v, want %+v", c.given, got, c.want)
		}
	}
}

// The package documentation states the limits that the code has.
func TestLimitsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "//", "")), " ")
	for _, sentence := range []string{
		fmt.Sprintf("holds %d,%03d messages and %d MiB of payloads", inbound.MaxMessages/1000, inbound.MaxMessages%1000, inbound.MaxBytes>>20),
		"a name at most broker.MaxNameLen",
	} {
		if !strings.Contains(doc, sentence) {
			t.Errorf("doc.go does not say %q", sentence)
		}
	}
	if broker.MaxNameLen != 4096 { // as wire.CheckName says
		t.Errorf("a name has at most %d bytes", broker.MaxNameLen)
	}
}
