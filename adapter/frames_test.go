package adapter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The cases of https://socket.io/docs/v4/socket-io-protocol/#packet-encoding for events, and
// similar ones.
func TestFrames(t *testing.T) {
	for _, c := range []struct {
		namespace, event string
		args             []any
		text             string
		attachments      []string
	}{
		{"/", "foo", nil, `2["foo"]`, nil},
		{"/admin", "bar", nil, `2/admin,["bar"]`, nil},
		{"/", "foo", []any{"bar", 1, nil, true, 1.5}, `2["foo","bar",1,null,true,1.5]`, nil},
		{"/", "baz", []any{[]byte{1, 2, 3, 4}}, `51-["baz",{"_placeholder":true,"num":0}]`, []string{"\x01\x02\x03\x04"}},
		{"/admin", "profile", []any{map[string]any{"a": []byte("A"), "b": []any{[]byte("B")}}}, `52-/admin,["profile",{"a":{"_placeholder":true,"num":0},"b":[{"_placeholder":true,"num":1}]}]`, []string{"A", "B"}},
		{"/", "quote\"\n", []any{"<é😀>\u2028"}, "2[\"quote\\\"\\n\",\"<é😀>\u2028\"]", nil},
		{"/", "date", []any{time.Date(2020, 1, 2, 3, 4, 5, 6e6, time.UTC)}, `2["date","2020-01-02T03:04:05.006Z"]`, nil},
		{"/", "empty", []any{[]byte{}}, `51-["empty",{"_placeholder":true,"num":0}]`, []string{""}},
		{"/", "", []any{map[string]int{}}, `2["",{}]`, nil},
	} {
		f := packetOf(t, c.namespace, c.event, c.args...).Frames()
		assert.Equal(t, c.text, string(f.Text))
		assert.Equal(t, "4"+c.text, string(f.Engine))
		assert.Equal(t, fmt.Sprintf("%q", c.attachments), fmt.Sprintf("%q", f.Attachments), "%s: attachments", c.text)
	}
}

func TestAckFrames(t *testing.T) {
	for _, c := range []struct {
		namespace string
		id        uint64
		args      []any
		text      string
	}{
		{"/", 12, nil, `212["foo"]`},
		{"/admin", 456, []any{"x"}, `2/admin,456["foo","x"]`},
		{"/", 0, []any{[]byte{1}}, `51-0["foo",{"_placeholder":true,"num":0}]`},
		{"/admin", 1<<64 - 1, []any{[]byte{1}}, `51-/admin,18446744073709551615["foo",{"_placeholder":true,"num":0}]`},
	} {
		p := packetOf(t, c.namespace, "foo", c.args...)
		f, plain := p.AckFrames(c.id), p.Frames()
		assert.Equal(t, c.text, string(f.Text))
		assert.Equal(t, "4"+c.text, string(f.Engine))
		if len(f.Attachments) != len(plain.Attachments) || len(f.Attachments) == 1 && &f.Attachments[0][0] != &plain.Attachments[0][0] {
			t.Errorf("%s: attachments are not shared", c.text)
		}
	}
}
