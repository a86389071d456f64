package interop_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// vector is a message that a real package published.
type vector struct {
	Name, Dialect, Role, Channel string
	Payload                      string          `json:"payload_base64"`
	Decoded                      json.RawMessage `json:"decoded"`
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "adapter", "internal", "socketio", "testdata", "vectors.json"))
	require.NoError(t, err)
	var all []vector
	require.NoError(t, json.Unmarshal(text, &all))
	return all
}

// readers are the generations whose decoders read what the packages of a dialect wrote.
var readers = map[string]interop.Generation{
	"v5": v5, "emitter-v3": v5, "v6": v6, "v7": v7, "v8": v8, "emitter-v5": v8,
}

// TestVectorsEmitted emits the content of every captured broadcast. The decoder of the package that
// wrote the capture reads both.
func TestVectorsEmitted(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	peers := map[interop.Generation]*interop.Peer{}
	for _, g := range all {
		peers[g] = startPeer(t, g, string(g), redis.URL(), "unused")
	}
	watcher := interop.Watch(t, redis.URL())
	count := 0
	for _, v := range readVectors(t) {
		g, ok := readers[v.Dialect]
		if !ok || v.Role != "broadcast" {
			continue
		}
		count++
		t.Run(v.Name, func(t *testing.T) {
			payload, err := base64.StdEncoding.DecodeString(v.Payload)
			require.NoError(t, err)
			unpack := func(b []byte) (packet, opts args) {
				m, err := peers[g].Call(t.Context(), "unpack", args{"bytes": b})
				require.NoError(t, err, "%q", b)
				parts := mapped(m, definite).([]any)
				return parts[1].(args), parts[2].(args)
			}
			packet, opts := unpack(payload)
			data := packet["data"].([]any)

			prefix, _, _ := strings.Cut(v.Channel, "#")
			e := startGoEmitter(t, "e", redis.URL(), prefix, dialects[g])
			var flags []any
			if given, _ := opts["flags"].(args); given["volatile"] == true {
				flags = append(flags, "volatile")
			} else if given["compress"] == false {
				flags = append(flags, "nocompress")
			}
			if _, err := e.Call(t.Context(), "emit", args{
				"nsp": packet["nsp"], "to": opts["rooms"], "except": opts["except"], "flags": flags,
				"event": data[0], "args": data[1:],
			}); err != nil {
				t.Fatal(err)
			}
			require.NoError(t, e.e.Flush(t.Context()))
			published, err := watcher.Since(t.Context())
			require.NoError(t, err)
			require.Len(t, published, 1)
			channel := v.Channel
			if g != v5 && strings.HasSuffix(channel, "#42#") {
				channel = strings.TrimSuffix(channel, "42#") // for rooms "42" and 42
			}
			assert.Equal(t, channel, published[0].Channel)
			goPacket, goOpts := unpack([]byte(published[0].Payload))
			want := 2
			if g == v5 && strings.Contains(v.Name, "binary") {
				want = 5 // otherwise v2 clients would get it as JSON, as from socket.io-emitter 3
			}
			equalText(t, "type", goPacket["type"], want)
			equalText(t, "nsp", goPacket["nsp"], packet["nsp"])
			equalText(t, "data", goPacket["data"], packet["data"])
			equalText(t, "rooms", roomSet(goOpts["rooms"]), roomSet(opts["rooms"]))
			equalText(t, "except", roomSet(goOpts["except"]), roomSet(opts["except"]))
			for _, key := range []string{"rooms", "except"} {
				_, ok := goOpts[key].([]any)
				assert.True(t, ok, "%s is %v, which some servers would not read", key, goOpts[key])
			}
			given, _ := opts["flags"].(args)
			for _, key := range []string{"volatile", "compress"} {
				goFlags, ok := goOpts["flags"].(args)
				require.True(t, ok, "no flags in %v", goOpts)
				equalText(t, key, goFlags[key], given[key])
			}
		})
	}
	assert.GreaterOrEqual(t, count, 90, "only vectors")
}

// TestVectorsRequested compares the requests of the Go emitter with those captured from
// @socket.io/redis-emitter.
func TestVectorsRequested(t *testing.T) {
	redis := servers.StartRedis(t, nil)
	watcher := interop.Watch(t, redis.URL())
	e, err := adapter.NewEmitter(openBroker(t, redis.URL(), ""), nil)
	require.NoError(t, err)
	count := 0
	for _, v := range readVectors(t) {
		if v.Dialect != "emitter-v5" || v.Role != "request" {
			continue
		}
		count++
		t.Run(v.Name, func(t *testing.T) {
			var want map[string]any
			require.NoError(t, json.Unmarshal(v.Decoded, &want))
			opts, _ := want["opts"].(args)
			op := e.To(texts(opts["rooms"])...).Except(texts(opts["except"])...)
			switch want["type"] {
			case 2.0:
				err = op.SocketsJoin(t.Context(), texts(want["rooms"])...)
			case 3.0:
				err = op.SocketsLeave(t.Context(), texts(want["rooms"])...)
			case 4.0:
				err = op.DisconnectSockets(t.Context(), want["close"].(bool))
			case 6.0:
				data := want["data"].([]any)
				err = e.ServerSideEmit(t.Context(), data[0].(string), data[1:]...)
			}
			require.NoError(t, err)
			require.NoError(t, e.Flush(t.Context()))
			published, err := watcher.Since(t.Context())
			require.NoError(t, err)
			require.Len(t, published, 1)
			require.Equal(t, v.Channel, published[0].Channel)
			var got map[string]any
			require.NoError(t, json.Unmarshal([]byte(published[0].Payload), &got))
			for key := range want {
				equalText(t, key, got[key], want[key])
			}
		})
	}
	assert.Equal(t, 4, count, "vectors")
}

func equalText(t *testing.T, what string, got, want any) {
	t.Helper()
	g, w := interop.Text(got), interop.Text(want)
	assert.Equal(t, w, g, what)
}

// definite replaces undefined, which Go nodes write as null.
func definite(v any) any {
	if v == (any)(interop.Undefined{}) {
		return nil
	}
	return v
}

// roomSet is a list of rooms whose names are numbers, or both a number and its text, for servers
// that distinguish them.
func roomSet(rooms any) any {
	list := texts(rooms)
	slices.Sort(list)
	return append([]string{}, slices.Compact(list)...)
}
