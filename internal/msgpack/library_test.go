package msgpack_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	library "github.com/vmihailenco/msgpack/v5"

	"github.com/crossroom/crossroom/internal/msgpack"
)

// This file is the evidence of docs/decisions/0002-our-own-messagepack-for-values.md. A failed test means that a
// library has a new capability: then check which part of this package is still needed.

// libraryAppend is AppendValue on vmihailenco/msgpack, with the closest options and the same check of traits.
func libraryAppend(buf *bytes.Buffer, v any) error {
	e := library.GetEncoder()
	defer library.PutEncoder(e)
	e.Reset(buf)
	e.SetSortMapKeys(true)
	e.SetCustomStructTag("json")
	e.UseCompactInts(true)
	e.UseCompactFloats(true)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := msgpack.Check(buf.Bytes(), 12)
	return err
}

// jsonRules are the rules of encoding/json for encoding/json/v2, with hooks for bytes and dates. A real implementation
// would have to collect the hooked values and insert them later; this one does not even do that.
var jsonRules = jsonv2.JoinOptions(jsonv1.DefaultOptionsV1(),
	jsontext.AllowInvalidUTF8(false), jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false),
	jsonv2.WithMarshalers(jsonv2.JoinMarshalers(
		jsonv2.MarshalToFunc(func(e *jsontext.Encoder, _ []byte) error { return e.WriteToken(jsontext.Null) }),
		jsonv2.MarshalToFunc(func(e *jsontext.Encoder, _ time.Time) error { return e.WriteToken(jsontext.Null) }),
	)))

// jsonAppend is AppendValue on encoding/json/v2 and FromJSON.
func jsonAppend(dst []byte, v any) ([]byte, error) {
	text, err := jsonv2.Marshal(v, jsonRules)
	if err != nil {
		return dst, err
	}
	return msgpack.FromJSON(dst, text)
}

func TestLibraryWritesOtherValues(t *testing.T) {
	for _, v := range []any{
		float32(0.1),                           // 0.10000000149011612
		map[int]string{2: "b", 1: "a"},         // numbers as keys, in any order
		time.UnixMilli(1_700_000_000_000),      // a timestamp, which notepack.io 2 reads as a list
		json.Number("12"),                      // text
		json.RawMessage(`{"a":1}`),             // binary data
		valueJSON{},                            // its fields, not the result of MarshalJSON
		text{"t"},                              // binary data, not text
		Outer{},                                // "-,", omitzero, string and embedded fields
		[]any{msgpack.Ext{Type: 7, Data: nil}}, // a map
	} {
		var buf bytes.Buffer
		if err := libraryAppend(&buf, v); err == nil && bytes.Equal(buf.Bytes(), encode(t, v)) {
			t.Errorf("%T: the same", v)
		}
	}
	// The library has no limit of depth: a cyclic value crashes the process.
	_, err := library.Marshal(wrap(nil, 100_000))
	assert.NoError(t, err, "a limit of depth")
}

func TestLibraryReadsNotAllVectors(t *testing.T) {
	b, err := os.ReadFile("../../adapter/internal/socketio/testdata/vectors.json")
	require.NoError(t, err)
	var all []struct {
		Name    string
		Kind    string `json:"payload_kind"`
		Payload string `json:"payload_base64"`
	}
	require.NoError(t, json.Unmarshal(b, &all))
	var refused []string
	for _, v := range all {
		p, err := base64.StdEncoding.DecodeString(v.Payload)
		require.NoError(t, err)
		if v.Kind != "msgpack" {
			continue
		}
		if _, err := library.NewDecoder(bytes.NewReader(p)).DecodeInterfaceLoose(); err != nil {
			refused = append(refused, v.Name+": "+err.Error())
		}
	}
	const ext0 = ": msgpack: unknown ext id=0"
	want := []string{"v5/data-dates" + ext0, "v5/data-undefined" + ext0, "v6/data-dates" + ext0, "v6/data-undefined" + ext0, "v7/data-dates" + ext0,
		"v7/broadcast-with-ack-empty/3-response" + ext0, "emitter-v3/emit-date-undefined" + ext0}
	assert.Equal(t, want, refused, "the refused values are\n%s", strings.Join(refused, "\n"))
}

// A key that is not text is an error, and, where the options allow such keys, sometimes a panic.
func TestLibraryReadsNotAllKeys(t *testing.T) {
	v, err := library.NewDecoder(strings.NewReader("\x81\x01\x02")).DecodeInterfaceLoose()
	assert.Error(t, err, "a number as a key: %v", v)
	defer func() {
		assert.NotNil(t, recover(), "a list as a key is no panic")
	}()
	_, _ = library.NewDecoder(strings.NewReader("\x81\x91\x01\x02")).DecodeUntypedMap()
}

func BenchmarkLibraryAppendValue(b *testing.B) {
	var dst []byte
	var buf bytes.Buffer
	names, values := benchValues()
	for i, name := range names {
		for way, run := range map[string]func(v any){
			"ours":        func(v any) { dst, _, _ = msgpack.AppendValue(dst[:0], v) },
			"vmihailenco": func(v any) { buf.Reset(); _ = libraryAppend(&buf, v) },
			"json":        func(v any) { dst, _ = jsonAppend(dst[:0], v) },
		} {
			b.Run(fmt.Sprint(name, "/", way), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					run(values[i])
				}
			})
		}
	}
}

func BenchmarkLibraryDecode(b *testing.B) {
	names, values := benchValues()
	for i, name := range names {
		if name == "date" {
			continue // the library cannot read it
		}
		raw := encode(b, values[i])
		for way, run := range map[string]func(){
			"ours":        func() { _, _ = msgpack.Decode(raw) },
			"vmihailenco": func() { _, _ = library.NewDecoder(bytes.NewReader(raw)).DecodeInterfaceLoose() },
		} {
			b.Run(fmt.Sprint(name, "/", way), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					run()
				}
			})
		}
	}
}
