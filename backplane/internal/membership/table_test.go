package membership

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A full table has room for a new node once one of its nodes has left, or is a stranger, and counts those that it
// refuses.
func TestTableThatIsFull(t *testing.T) {
	var table table
	table.init(time.Second, &Options{ID: "me", Since: time.Now(), Heartbeat: time.Second, PeerTimeout: time.Minute, RequestsTimeout: time.Second}, true)
	add := func(id string, since int64) *peer {
		table.mu.Lock()
		defer table.mu.Unlock()
		return table.add(id, since)
	}
	for i := range maxPeers {
		p := add(fmt.Sprint(i), 0)
		require.NotNil(t, p, "%d", i)
		p.since, p.proved = 1, true
	}
	require.Nil(t, add("new", 1))
	require.EqualValues(t, 1, table.refused)

	table.byID["7"].state = left
	p := add("new", 1)
	require.NotNil(t, p)
	require.NotContains(t, table.byID, "7")
	require.Len(t, table.byID, maxPeers)
	require.Equal(t, 1, table.strangers)

	require.NotNil(t, add("newer", 1), "in place of a stranger")
	require.NotContains(t, table.byID, "new")
	require.Len(t, table.byID, maxPeers)
	require.Equal(t, 1, table.strangers)
	require.EqualValues(t, 1, table.refused)
}
