package fleettest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/fleettest"
)

// A broker that stays cut at the end of a test, with a message in its queue, is healed
// and closed without an error.
func TestBrokerStaysCut(t *testing.T) {
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		for _, fault := range []func(*fleettest.Broker){
			func(p *fleettest.Broker) { p.Cut() },
			func(p *fleettest.Broker) { p.Freeze() },
			func(p *fleettest.Broker) { p.Freeze(); p.Cut() },
		} {
			p := f.Broker("mine")
			fault(p)
			assert.NoError(t, p.Publish(t.Context(), broker.Native.Broadcast("/"), []byte("queued")))
			assert.Equal(t, 1, p.Stats().QueuedMessages, "messages are queued")
		}
	})
}

// A function passed to After does not run after the test has returned.
func TestAfterTheTest(t *testing.T) {
	ran := false
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		f.After(time.Second, func() { ran = true })
		t.Cleanup(func() { time.Sleep(2 * time.Second) })
	})
	assert.False(t, ran, "the function ran")
}

// badOptions is the environment variable that makes TestBadOptions fail in each way.
const badOptions = "CROSSROOM_TEST_BAD_OPTIONS"

// Options that New rejects fail the test with New's error, also in a function passed to After, which runs on a
// goroutine that must not call FailNow.
func TestBadOptions(t *testing.T) {
	bad := map[string]func(f *fleettest.Fleet){
		"server": func(f *fleettest.Fleet) { f.Server("north", &adapter.Options{Dialect: 9}) },
		"node":   func(f *fleettest.Fleet) { f.Node("n", &backplane.Options{RequestsTimeout: -1}) },
	}
	how := os.Getenv(badOptions)
	if how == "" {
		for name := range bad {
			for _, when := range []string{"now", "after"} {
				cmd := exec.Command(os.Args[0], "-test.run=^TestBadOptions$", "-test.v")
				cmd.Env = append(os.Environ(), badOptions+"="+name+" "+when)
				out, err := cmd.CombinedOutput()
				text := string(out)
				if err == nil || !strings.Contains(text, "--- FAIL: TestBadOptions") || !strings.Contains(text, "option ") || strings.Contains(text, "panic") {
					t.Errorf("%s %s: %v\n%s", name, when, err, text)
				}
				rest := strings.Contains(text, "the test went on")
				assert.Equal(t, when == "after", rest, "%s %s: the test went on: %v\n%s", name, when, rest, text)
			}
		}
		return
	}
	name, when, _ := strings.Cut(how, " ")
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		if when == "now" {
			bad[name](f)
		}
		f.After(time.Second, func() { bad[name](f) })
		time.Sleep(2 * time.Second)
		t.Log("the test went on")
	})
}
