package interop_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// The effect of each reading on the real sharded adapter. A test of package adapter expects the same of Go nodes.
const shardedReadingsFile = "../../adapter/internal/socketio/testdata/readings-sharded.json"

// shardedBroadcast is a broadcast of the sharded adapter.
func shardedBroadcast(s shape, typ, nsp string) string {
	packet, opts := s.parts()
	return mapOf("type", typ, "data", mapOf("packet", packet, "opts", opts), "uid", s.uid, "nsp", nsp)
}

// shardedReadings have other values in the place of each field of a broadcast, in msgpack and, where it has such values, in
// JSON.
func shardedReadings() (list []reading) {
	add := func(name, payload string) {
		list = append(list, broadcast(name, toAll, payload))
		if text, err := msgpack.AppendJSON(nil, []byte(payload), nil); err == nil && text[0] == '{' && !slices.Contains([]byte(payload), 0xc4) {
			list = append(list, broadcast(name+", JSON", toAll, string(text)))
		}
	}
	for _, f := range broadcastFields {
		kinds := everyKind
		if f.more {
			kinds = slices.Concat(everyKind, moreKinds)
		}
		for _, v := range kinds {
			s, raw := usual(), v.raw
			if raw == "" {
				raw = missing
			}
			f.set(&s, raw)
			add(f.name+" "+v.name, shardedBroadcast(s, "\x03", "\xa1/"))
		}
	}
	for _, v := range slices.Concat(everyKind, moreKinds) {
		raw := v.raw
		if raw == "" {
			raw = missing
		}
		packet, opts := usual().parts()
		add("type "+v.name, shardedBroadcast(usual(), raw, "\xa1/"))
		add("nsp "+v.name, shardedBroadcast(usual(), "\x03", raw))
		add("data "+v.name, mapOf("type", "\x03", "data", raw, "uid", "\xa4peer", "nsp", "\xa1/"))
		add("data.packet "+v.name, mapOf("type", "\x03", "data", mapOf("packet", raw, "opts", opts), "uid", "\xa4peer", "nsp", "\xa1/"))
		add("data.opts "+v.name, mapOf("type", "\x03", "data", mapOf("packet", packet, "opts", raw), "uid", "\xa4peer", "nsp", "\xa1/"))
		if v.name != "cut off" && v.name != "reserved byte" {
			list = append(list, broadcast("alone "+v.name, toAll, v.raw))
		}
	}
	good := shardedBroadcast(usual(), "\x03", "\xa1/")
	add("trailing byte", good+"\xc0")
	add("cut by one", good[:len(good)-1])
	add("empty map", "\x80")
	return list
}

// TestShardedReadings gives bytes of all kinds to the real sharded adapter, and compares the effects with the recorded ones.
func TestShardedReadings(t *testing.T) {
	dir := interop.Require(t)
	list := shardedReadings()
	names := map[string]bool{}
	var text bytes.Buffer
	outcomes, index := []json.RawMessage{}, map[string]int{}
	took := read(t, dir, "sharded", list)
	var lines [][]byte
	for i, r := range list {
		assert.False(t, names[r.Name], "%s twice", r.Name)
		names[r.Name] = true
		n, known := index[string(took[i])]
		if !known {
			n = len(outcomes)
			index[string(took[i])], outcomes = n, append(outcomes, took[i])
		}
		line, err := encode(struct {
			Name    string `json:"name"`
			Payload []byte `json:"payload"`
			Took    int    `json:"took"`
		}{r.Name, r.Payload, n})
		require.NoError(t, err)
		lines = append(lines, bytes.TrimSpace(line))
	}
	text.WriteString("{\"outcomes\": [\n")
	for i, o := range outcomes {
		text.Write(bytes.TrimSpace(o))
		text.WriteString(map[bool]string{true: "\n", false: ",\n"}[i == len(outcomes)-1])
	}
	text.WriteString("],\n\"broadcast\": [\n")
	text.Write(bytes.Join(lines, []byte(",\n")))
	text.WriteString("\n]}\n")
	if *update {
		require.NoError(t, os.WriteFile(shardedReadingsFile, text.Bytes(), 0o644))
	}
	committed, err := os.ReadFile(shardedReadingsFile)
	require.NoError(t, err)
	assert.Equal(t, text.String(), string(committed), "%s is not what this run came to; run with -update:\n%.2000s", shardedReadingsFile, differing(string(committed), text.String()))
}
