package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// 100,000 garbage messages caused 33,402 calls of OnError.
func TestGarbageCausesFewReports(t *testing.T) {
	for name, ch := range map[string]func(i int) broker.Channel{
		"broadcasts": func(int) broker.Channel { return broker.Native.Broadcast("ns") },
		"rooms":      func(int) broker.Channel { return broker.Native.Room("ns", "m") },
		"requests":   func(int) broker.Channel { return broker.Native.Requests("ns") },
		"responses":  func(int) broker.Channel { return broker.Native.Responses("ns") },
		"control":    func(int) broker.Channel { return broker.Control() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := memorybroker.NewBus(&memorybroker.Options{QueueMessages: 1 << 20, QueueBytes: 1 << 30})
				calls, reported := 0, 0
				n, err := backplane.New(bus.Broker(), &backplane.Options{OnError: func(err error) {
					calls++
					var d *backplane.MessageError
					if errors.As(err, &d) {
						reported += 1 + d.More
					}
				}})
				require.NoError(t, err)
				ns, err := n.Namespace(t.Context(), "ns", nil)
				require.NoError(t, err)
				require.NoError(t, ns.Add(t.Context(), newSocket("m")))
				stranger := bus.Broker()
				const garbage = 100_000
				for i := range garbage {
					require.NoError(t, stranger.Publish(t.Context(), ch(i), []byte{0xc1, byte(i), byte(i >> 8)}))
					if i%1000 == 999 {
						synctest.Wait()
					}
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				assert.LessOrEqual(t, calls, 5, "calls of OnError")
				if name != "control" { // where frames that come too fast are lost, and counted so
					assert.Equal(t, garbage, reported, "each is counted in a report")
				}
				require.NoError(t, errors.Join(n.Close(context.Background()), stranger.Close(context.Background())))
			})
		})
	}
}

// Names, and texts of others, neither break lines nor control terminals.
func TestErrorsAreOneLine(t *testing.T) {
	evil := "a\nb\x1b[31m\x00\u2028\u202e\xff"
	bad := errors.New(evil)
	ch := broker.Native.Room(evil, evil)
	missing := backplane.Coverage{Missing: []observe.Missing{{Node: evil, Count: 1}}}
	for _, err := range []error{
		&backplane.NameError{What: "room", Name: evil, Reason: "x"},
		&backplane.OpError{Op: "join", Namespace: evil, Name: evil, Err: bad},
		&backplane.OpError{Op: "join", Name: evil, Err: bad, More: 3},
		&backplane.PartialError{Op: "join", Coverage: missing, Err: bad},
		&backplane.PartialError{Op: "join", Coverage: backplane.Coverage{Missing: missing.Missing, Links: []backplane.LinkCoverage{{Prefix: "p", Coverage: missing}}}, Err: bad},
		&backplane.MessageError{Channel: ch, Err: bad},
		&backplane.InterruptedError{Namespace: evil, Err: bad},
		&backplane.InterruptedError{Err: bad},
		&backplane.PanicError{What: "Deliver", Member: evil, Value: evil},
		&backplane.PanicError{What: "Deliver", Value: bad},
		backplane.Refusal(evil),
		&backplane.MessageError{Channel: ch, Sender: evil, Err: backplane.ErrForged},
		&broker.NameError{Channel: ch, Reason: "x"},
	} {
		text := err.Error()
		assert.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }), "%T: %q", err, text)
	}
	for i := range 20_000 {
		missing.Missing = append(missing.Missing, observe.Missing{Node: fmt.Sprint(strings.Repeat("x", 100), i), Count: 1})
	}
	text := (&backplane.PartialError{Op: "join", Coverage: missing, Err: bad}).Error()
	assert.Less(t, len(text), 20*128+1000, "20,000 missing nodes made a text of 2 MB")
	assert.Contains(t, text, "19981", "how many are not named")
	long := backplane.Refusal(strings.Repeat("é", 1<<20))
	assert.Less(t, len((&backplane.PartialError{Op: "x", Err: long}).Error()), 1100)
	assert.Less(t, len((&backplane.OpError{Op: "x", Err: fmt.Errorf("%w", errors.New(strings.Repeat("é", 1<<20)))}).Error()), 1200)
}
