package adapter

import (
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// Bridge forwards broadcasts of nodes that are on one link only to the other links: those of Node.js servers,
// emitters, and Go nodes that are not on all links. One Go node at a time does so, the leader: of the nodes on both
// links, the one that was made first. The others, the followers, receive the same messages and the copies of them.
// Each keeps the messages whose copies it has not received, the window. When it becomes the leader it forwards them,
// each once and in order.
//
//	the leader             messages meanwhile
//	calls Close            none lost, none repeated; the next leader starts at once
//	loses a link           the same, if it is the link on which it receives the messages
//	is killed              none lost within the window, none repeated; the next leader
//	                       starts PeerTimeout + 1.5 Heartbeat later
//	is stopped, continues  the same; the messages that it finds when it continues are not
//	                       forwarded a second time
//
// When a node begins to miss messages on a link, and again when that gap ends, it does not lead for PeerTimeout and two
// Heartbeats. This does not apply to a node that is alone on both links.
//
// Messages with the same content are counted, not distinguished: a leader that has missed one of several equal messages
// may leave out another one of them. A message that the leader had dropped and reported before it was killed may be
// reported by the next one, too.
//
// Messages are counted and reported to Options.OnError as a *broker.LossError inside a *LinkError if the window has no
// room for them, or if the broker or the content check refuses them. All Go nodes with several links must have the
// same links, Heartbeat and PeerTimeout.
type Bridge struct {
	// Messages, Bytes and Age limit the window, for each namespace and direction between two links. The oldest
	// messages are dropped if the window is full or if they are older than Age. Bytes counts payloads, names and 384
	// bytes for each message. Age must be longer than a change of the leader takes. Zero means 262,144 messages, 128
	// MiB, and 30 s or three times PeerTimeout if that is more. Negative is a *backplane.OptionError.
	Messages, Bytes int
	Age             time.Duration

	// Repeat makes a new leader also forward messages of which it cannot know whether the leader before it has forwarded
	// them. Sockets may then get them twice. They are the messages that arrived in the new leader's first Heartbeat, and
	// while its other link was interrupted. By default these messages are dropped, and their number is reported with
	// Uncertain set.
	Repeat bool
}

const (
	defaultBridgeMessages = 1 << 18
	defaultBridgeBytes    = 128 << 20
	defaultBridgeAge      = 30 * time.Second
)

// withDefaults returns a copy for a server with these intervals.
func (b *Bridge) withDefaults(peerTimeout time.Duration) *Bridge {
	if b == nil {
		return nil
	}
	c := *b
	if c.Messages == 0 {
		c.Messages = defaultBridgeMessages
	}
	if c.Bytes == 0 {
		c.Bytes = defaultBridgeBytes
	}
	if c.Age == 0 {
		c.Age = max(defaultBridgeAge, 3*peerTimeout)
	}
	return &c
}

// options returns the options for package multilink; nil for nil.
func (b *Bridge) options(heartbeat, peerTimeout time.Duration, passed *atomic.Uint64, report func(error)) *multilink.BridgeOptions {
	if b == nil {
		return nil
	}
	return &multilink.BridgeOptions{
		Messages: b.Messages, Bytes: b.Bytes, Age: b.Age, Repeat: b.Repeat,
		Heartbeat: heartbeat, PeerTimeout: peerTimeout, Passed: passed,
		Report: func(link string, err error) { report(&LinkError{Prefix: link, Err: err}) },
	}
}

func (b *Bridge) validate(heartbeat, peerTimeout time.Duration) error {
	bad := func(reason string) error {
		return wire.FromAdapter(&backplane.OptionError{Option: "Bridge", Reason: reason})
	}
	switch {
	case b.Messages < 0 || b.Bytes < 0 || b.Age < 0:
		return bad("a negative limit")
	case b.Age <= peerTimeout+2*heartbeat:
		return bad("Age is not longer than a change of the leader takes (PeerTimeout + 2 Heartbeat)")
	}
	return nil
}
