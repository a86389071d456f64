package interop_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// A Go server gets a date. Its clients get text, like those of Node.js servers.
var date = regexp.MustCompile(`\{"\$date":"(-?[0-9]+)"\}`)

// asJSON writes the dates that a Go node's sockets got as JSON writes them.
func asJSON(got string) string {
	return date.ReplaceAllStringFunc(got, func(s string) string {
		ms, err := strconv.ParseInt(date.FindStringSubmatch(s)[1], 10, 64)
		if err != nil {
			return s
		}
		return strconv.Quote(time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"))
	})
}

// TestWildEmitters publishes the messages of emitters in other languages through Redis. It compares
// what clients of Node.js servers get with what those of Go nodes get. Messages that are recorded
// as fatal are not sent.
func TestWildEmitters(t *testing.T) {
	interop.Require(t)
	text, err := os.ReadFile(readingsFile)
	require.NoError(t, err)
	var file struct {
		Outcomes  []took
		Broadcast []struct {
			Name, Channel string
			Payload       []byte
			Took          [3]int
		}
	}
	require.NoError(t, json.Unmarshal(text, &file))
	redis := servers.StartRedis(t, nil)
	for i, g := range []interop.Generation{v5, v6, v8} {
		t.Run(string(g), func(t *testing.T) {
			prefix := "wild-" + string(g)
			js, goes := startPeer(t, g, "js", redis.URL(), prefix), startGo(t, "go", redis.URL(), prefix, dialects[g])
			// A message that follows one on another connection follows it everywhere.
			s := stage(t, g, "/", startGoEmitter(t, "marker", redis.URL(), prefix, dialects[g]), js, goes)
			clients := []*client{s.connect(js, "js", nil, "a", "b"), s.connect(goes, "go", nil, "a", "b")}
			out, delivered := openBroker(t, redis.URL(), prefix), 0
			for _, r := range file.Broadcast {
				if !strings.HasPrefix(r.Name, "emitter ") || r.Took[i] != r.Took[2] {
					continue // the generations differ, and a Go node behaves like v8
				}
				if o := file.Outcomes[r.Took[i]]; o.code() == "†" || o.code() == "✂" {
					continue
				}
				ch := broker.SocketIO.Broadcast("/")
				if r.Channel != "" {
					ch = broker.SocketIO.Room("/", strings.TrimSuffix(strings.TrimPrefix(r.Channel, toAll), "#"))
				}
				require.NoError(t, out.Publish(s.ctx, ch, r.Payload))
				require.NoError(t, out.Flush(s.ctx))
				got := s.settle()
				theirs, ours := fmt.Sprint(got[clients[0]]), asJSON(fmt.Sprint(got[clients[1]]))
				assert.Equal(t, ours, theirs, "%s: clients of Node.js", r.Name)
				delivered += len(got[clients[1]])
			}
			assert.GreaterOrEqual(t, delivered, 10, "messages")
		})
	}
}
