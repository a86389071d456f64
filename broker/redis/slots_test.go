package redisbroker

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestSlotOf compares with CLUSTER KEYSLOT of Redis 7.0.
func TestSlotOf(t *testing.T) {
	for name, slot := range map[string]uint16{
		"": 0, "foo": 12182, "bar": 5061, "{foo}bar": 12182, "a{foo}": 12182, "{foo}{bar}": 12182,
	} {
		assert.Equal(t, slot, slotOf(name), "%q", name)
	}
	for _, name := range []string{"{}foo", "foo{}", "{foo", "foo}"} { // without a tag
		assert.NotEqual(t, slotOf("foo"), slotOf(name), "%q", name)
	}
}

func TestMovedTo(t *testing.T) {
	for reply, want := range map[string]string{
		"MOVED 3999 127.0.0.1:6381":  "127.0.0.1:6381",
		"MOVED 3999 :6381":           ":6381",
		"MOVED 3999 ::1:6381":        "[::1]:6381",
		"MOVED 3999 redis.example:1": "redis.example:1",
	} {
		slot, addr, ok := movedTo(reply)
		assert.True(t, ok, reply)
		assert.EqualValues(t, 3999, slot, reply)
		assert.Equal(t, want, addr, reply)
	}
	for _, reply := range []string{"", "MOVED", "MOVED 16384 a:1", "MOVED x a:1", "MOVED 1 a", "ASK 1 a:1", "MOVED 1 a:1 b", "ERR MOVED"} {
		_, _, ok := movedTo(reply)
		assert.False(t, ok, "%q", reply)
	}
}

func TestSlotTable(t *testing.T) {
	var a slotTable
	a.set(1, "a:1")
	a.set(2, "b:1")
	b := a
	b.set(1, "c:1")
	assert.Equal(t, "a:1", a.owner(1), "a copy is another table")
	assert.Equal(t, "c:1", b.owner(1))
	assert.Empty(t, a.owner(3))
	assert.True(t, a.serves("a:1"))
	assert.False(t, b.serves("a:1"))
	assert.False(t, a.serves("c:1"))
}
