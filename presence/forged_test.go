package presence_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/fleettest"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/presence"
)

// inName makes a message of package backplane in the name of a node.
func inName(origin string, payload []byte) []byte {
	dst := msgpack.AppendString(msgpack.AppendInt(msgpack.AppendArrayLen(nil, 9), 1), origin)
	dst = msgpack.AppendUint(msgpack.AppendUint(dst, 1), 0)
	dst = msgpack.AppendNil(msgpack.AppendNil(msgpack.AppendNil(dst)))
	return msgpack.AppendBytes(msgpack.AppendString(dst, ""), payload)
}

// spy learns the epoch of a node, and the sum of its last change.
type spy struct {
	of         string
	epoch, sum atomic.Uint64
}

func (s *spy) Deliver(_ broker.Channel, payload []byte) {
	message, _ := msgpack.Decode(payload)
	fields, _ := message.([]any)
	if len(fields) < 9 || fields[1] != s.of {
		return
	}
	content, _ := msgpack.Decode(fields[8].([]byte))
	f := msgpack.NewReader(fields[8].([]byte))
	f.ArrayLen()
	f.Skip()
	if kind, _ := f.Uint(); kind != 1 {
		return
	}
	epoch, _ := f.Uint()
	for range len(content.([]any)) - 4 {
		f.Skip()
	}
	sum, _ := f.Uint()
	s.epoch.Store(epoch)
	s.sum.Store(sum)
}

func (s *spy) Interrupted(error) {}
func (s *spy) Resumed()          {}

// sumOf continues a sum with the entries of a function of that name, as a node does.
func sumOf(sum uint64, first, n int) uint64 {
	for i := range n {
		b := append(binary.BigEndian.AppendUint64(nil, sum), 0)
		for _, name := range []string{"lobby", fmt.Sprint(first + i), "liar"} {
			b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		}
		hash := sha256.Sum256(b)
		sum = binary.BigEndian.Uint64(hash[:])
	}
	return sum
}

// TestForgedChanges sends one message in the name of a node, to all nodes or to one that is no neighbour of it in the ring.
// Three Intervals later all nodes know what is true, whether the node makes changes meanwhile or not.
func TestForgedChanges(t *testing.T) {
	const victim, distant = "node-03", "node-05"
	last := func(f []byte, sum uint64) []byte { return msgpack.AppendUint(f, sum) }
	for name, forged := range map[string]func(epoch, sum uint64) []byte{
		"goodbye":      func(epoch, _ uint64) []byte { return numbers(4, 1, 5, epoch, 0) },
		"another life": func(epoch, _ uint64) []byte { return numbers(6, 1, 2, epoch+1, 0, 0, 0) },
		"snapshot from the future": func(epoch, _ uint64) []byte {
			return last(entries(numbers(9, 1, 4, epoch, 1<<62, 1, 0, 1), 0, 0, nil), 0)
		},
		"snapshot of another life": func(epoch, _ uint64) []byte {
			return last(entries(numbers(9, 1, 4, epoch+1, 1<<62, 1, 0, 1), 0, 3, nil), 0)
		},
		"changes": func(epoch, sum uint64) []byte {
			return last(entries(numbers(6, 1, 1, epoch, 1), 0, 2, nil), sumOf(sum, 0, 2))
		},
		"changes with a wrong sum": func(epoch, _ uint64) []byte { return last(entries(numbers(6, 1, 1, epoch, 1), 0, 2, nil), 7) },
	} {
		for _, to := range []string{"", distant} {
			for changes := range 4 {
				t.Run(fmt.Sprint(name, " to ", to, " and ", changes, " changes"), func(t *testing.T) {
					fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
						nodes := virtuals(t, f, 7)
						heard := &spy{of: victim}
						attacker := f.Broker("attacker")
						_, err := attacker.Subscribe(t.Context(), heard, broker.Exactly(broker.Native.Broadcast("presence")))
						require.NoError(t, err)
						require.NoError(t, nodes[3].Join("lobby", presence.Member{ID: "first"}))
						within(t, time.Second, 1, nodes...)
						require.NotZero(t, heard.epoch.Load())
						ch := broker.Native.Broadcast("presence")
						if to != "" {
							ch = broker.Native.Room("presence", to)
						}
						require.NoError(t, attacker.Publish(t.Context(), ch, inName(victim, forged(heard.epoch.Load(), heard.sum.Load()))))
						time.Sleep(10 * time.Millisecond) // it has arrived
						for i := range changes {
							require.NoError(t, nodes[3].Join("lobby", presence.Member{ID: fmt.Sprint("later ", i)}))
							time.Sleep(10 * time.Millisecond) // a message for each
						}
						time.Sleep(3 * time.Second)
						for i, n := range nodes {
							assert.Equal(t, nodes[3].members(), n.members(), "node %d", i)
							assert.Empty(t, n.Room("").Missing)
						}
						attacker.Close(t.Context())
					})
				})
			}
		}
	}
}

// TestForgedRequests: other nodes cannot take the receiver of messages out of its room, or disconnect it.
func TestForgedRequests(t *testing.T) {
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		nodes := virtuals(t, f, 3)
		attacker := f.Broker("attacker")
		for op := uint64(4); op <= 6; op++ { // join, leave, disconnect
			b := msgpack.AppendString(msgpack.AppendUint(msgpack.AppendArrayLen(nil, 13), 1), "forged")
			b = msgpack.AppendString(msgpack.AppendUint(b, op), "attacker")
			b = msgpack.AppendString(msgpack.AppendNil(msgpack.AppendNil(msgpack.AppendUint(b, 0))), "")
			b = msgpack.AppendArrayLen(b, len(nodes))
			for _, n := range nodes {
				b = msgpack.AppendString(b, n.core.ID())
			}
			b = msgpack.AppendBytes(msgpack.AppendNil(msgpack.AppendUint(msgpack.AppendUint(b, 0), 0)), nil)
			require.NoError(t, attacker.Publish(t.Context(), broker.Native.Requests("presence"), b))
		}
		time.Sleep(10 * time.Millisecond) // they have arrived
		late := virtually(t, f, "late")
		require.NoError(t, late.Join("lobby", presence.Member{ID: "1"}))
		within(t, 2*time.Second, 1, append(nodes, late)...)
		attacker.Close(t.Context())
	})
}
