package presence

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// What a node keeps of its own changes, of a peer's changes that came before their turn, and of nodes that send requests, has
// limits.
func TestLimitsOfWhatIsKept(t *testing.T) {
	p := &Presence{
		wake: make(chan struct{}, 1), own: newReplica("own"), rooms: map[string]*roomState{}, requested: map[string]wanted{}, remoteBytes: 1 << 30,
		peers: map[string]*replica{"peer": newReplica("peer")},
	}
	joined := func(i, size int) change {
		return change{key: key{"room", fmt.Sprint(i)}, member: &Member{ID: fmt.Sprint(i), State: []byte(strings.Repeat("x", size))}}
	}
	for i := range logChanges + 1000 {
		p.change(joined(i%100, 0))
		p.change(joined(i%100, 1))
	}
	assert.Len(t, p.log, logChanges)
	for i := range 2 * logBytes / MaxState {
		p.change(joined(i%100, MaxState-1))
		p.change(joined(i%100, MaxState))
	}
	assert.LessOrEqual(t, p.size, logBytes)

	peer := newReplica("peer")
	for i := range 2 * pendingChanges {
		p.postpone(peer, &frame{list: []change{joined(i, 0)}, size: 100})
	}
	assert.Equal(t, pendingChanges, peer.waiting)
	peer = newReplica("other peer")
	for i := range 2 * pendingBytes >> 16 {
		p.postpone(peer, &frame{list: []change{joined(i, 0)}, size: 1 << 16})
	}
	assert.Equal(t, pendingBytes, peer.waitingSize)

	for i := range 2 * maxRequests {
		p.requests(fmt.Sprint("forged", i), &frame{})
	}
	assert.Len(t, p.requested, maxRequests)
	assert.EqualValues(t, maxRequests, p.stats.Strangers)
	p.requests("peer", &frame{})
	assert.True(t, p.requested["peer"].want, "forged names keep a peer from getting a snapshot")
}

// However often a peer makes this node request changes, send what it knows of all nodes, a snapshot, or its own number,
// it does that a few times in an Interval.
func TestRatesOfWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, err := backplane.New(memorybroker.New(nil), nil)
		require.NoError(t, err)
		defer node.Close(t.Context())
		ns, err := node.Namespace(t.Context(), "presence", nil)
		require.NoError(t, err)
		p := &Presence{
			ns: ns, life: t.Context(), interval: time.Second, wake: make(chan struct{}, 1), own: newReplica("own"), rooms: map[string]*roomState{}, requested: map[string]wanted{},
			peers: map[string]*replica{}, toRequest: map[string]struct{}{}, toCompare: map[string]struct{}{},
		}
		peer := newReplica("peer")
		p.peers["peer"] = peer
		requests, versions, announced := 0, 0, 0
		const intervals = 10
		for i := range intervals * 100 {
			p.compare(peer, uint64(i+1))
			p.respond(peer, uint64(i+1))
			requests += len(p.toRequest)
			versions += len(p.toCompare)
			clear(p.toRequest)
			clear(p.toCompare)
			p.requests("peer", &frame{epoch: 7, number: uint64(i)}) // which this node has never had
			before := p.announced
			p.sendResponses()
			if p.announced != before {
				announced++
			}
			time.Sleep(10 * time.Millisecond)
		}
		assert.Equal(t, intervals, requests)
		assert.EqualValues(t, intervals, p.stats.Snapshots)
		assert.Equal(t, 2*intervals, announced)
		assert.Equal(t, 2*intervals, versions)
	})
}
