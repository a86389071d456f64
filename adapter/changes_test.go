package adapter_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane/observe"
)

// changeLog records changes.
type changeLog struct {
	observe.Nop
	mu   sync.Mutex
	list []observe.Change
}

func (*changeLog) Events() observe.Events { return observe.Changes }

func (l *changeLog) Changed(c observe.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, c)
}

// count returns how often a change was reported.
func (l *changeLog) count(kind observe.ChangeKind, room, member string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.list {
		if c.Kind == kind && c.Room == room && c.Member == member && c.Namespace == chat {
			n++
		}
	}
	return n
}

// TestChanges: on a server with two links each change of a room is reported once, also if another server causes it.
func TestChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log changeLog
		both, modern, _ := newGenerations().mixed(t, adapter.Options{Observers: []observe.Observer{&log}})
		both[0].add(t, "ada", "room")
		require.NoError(t, modern.ns.To("room").SocketsJoin(t.Context(), "far"))
		eventually(t, "joined", func() bool { return log.count(observe.MemberJoined, "far", "ada") > 0 })
		both[0].ns.Remove("ada")
		eventually(t, "removed", func() bool { return log.count(observe.RoomDeleted, "ada", "") > 0 })
		for _, room := range []string{"ada", "room", "far"} {
			assert.Equal(t, 1, log.count(observe.RoomCreated, room, ""), room)
			assert.Equal(t, 1, log.count(observe.MemberJoined, room, "ada"), room)
			assert.Equal(t, 1, log.count(observe.MemberLeft, room, "ada"), room)
			assert.Equal(t, 1, log.count(observe.RoomDeleted, room, ""), room)
		}
		log.mu.Lock()
		defer log.mu.Unlock()
		assert.True(t, slices.ContainsFunc(log.list, func(c observe.Change) bool {
			return c.Kind == observe.PeerJoined && c.Peer == modern.UID()
		}), "%v", log.list)
	})
}
