package membership

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Of the accusations in a frame a limited number is read.
func TestLimitOfAccusations(t *testing.T) {
	f := frame{kind: kindAccuse, id: "forger", since: 1, revision: 1}
	for i := range 2 * maxAccused {
		f.accused = append(f.accused, accusation{id: fmt.Sprint(i), since: 1})
	}
	var got frame
	require.NoError(t, got.decode(f.append(nil)))
	assert.Len(t, got.accused, maxAccused)
}

// The nodes to which something must be sent are limited in number, also if other processes invent nodes.
func TestLimitOfWhatIsDue(t *testing.T) {
	a := announcer{wake: make(chan struct{}, 1), due: due{
		seen: map[string]revisionOf{}, lists: map[string]struct{}{}, told: map[string]accusation{},
	}}
	for i := range 2 * maxPeers {
		id := fmt.Sprint(i)
		a.reply(id)
		a.confirm(id, revisionOf{1, 1})
		a.tell(accusation{id: id})
	}
	assert.Len(t, a.due.lists, maxPeers)
	assert.Len(t, a.due.seen, maxPeers)
	assert.Len(t, a.due.told, maxAccused)
}

// A node requests few lists in a heartbeat. The others wait for the next one.
func TestLimitOfRequestsForLists(t *testing.T) {
	a := announcer{due: due{asks: map[string]revisionOf{}}}
	for i := range 1000 {
		a.due.asks[fmt.Sprint(i)] = revisionOf{}
	}
	r := round{asks: maxAsks}
	for range 3 {
		out, _ := a.compose(&r)
		assert.LessOrEqual(t, len(out), maxAsks)
		assert.Len(t, a.due.asks, 1000-maxAsks)
	}
	r.asks = maxAsks // of the next heartbeat
	_, _ = a.compose(&r)
	assert.Len(t, a.due.asks, 1000-2*maxAsks)
}

// Of the lost peers a limited number is remembered.
func TestLimitOfLostPeers(t *testing.T) {
	tab := table{lost: map[string]int64{}, changed: func(Change, string) {}}
	for i := range 2 * maxLost {
		tab.vanished(&peer{id: fmt.Sprint(i), state: live, proved: true})
	}
	assert.Len(t, tab.lost, maxLost)
}
