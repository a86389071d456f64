package interop

import (
	"context"
	"fmt"
	"sync"
)

// Message is an event or a disconnection, at a client or a server-side listener.
type Message struct {
	// Event is the event's name; empty for a disconnection.
	Event string
	Args  []any
	// Disconnected is why a connection ended; empty for events.
	Disconnected string
}

// Text returns the message in the notation of Text.
func (m Message) Text() string {
	if m.Disconnected != "" {
		return "disconnected: " + m.Disconnected
	}
	return Text(append([]any{m.Event}, m.Args...))
}

// String returns a shortened Text.
func (m Message) String() string { return fmt.Sprintf("%.500s", m.Text()) }

// Inbox holds the messages of one client, in order. It is safe for concurrent use,
// with one reader.
type Inbox struct {
	mu       sync.Mutex
	messages []Message
	more     chan struct{} // closed and renewed by Put
}

// NewInbox makes an empty inbox.
func NewInbox() *Inbox { return &Inbox{more: make(chan struct{})} }

// Put appends a message.
func (in *Inbox) Put(m Message) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.messages = append(in.messages, m)
	close(in.more)
	in.more = make(chan struct{})
}

// Until waits for a message that matches. It removes that message and all before it, and returns the
// latter. On error it returns all messages and removes none.
func (in *Inbox) Until(ctx context.Context, match func(Message) bool) ([]Message, error) {
	seen := 0
	for {
		in.mu.Lock()
		for ; seen < len(in.messages); seen++ {
			if match(in.messages[seen]) {
				before := in.messages[:seen:seen]
				in.messages = in.messages[seen+1:]
				in.mu.Unlock()
				return before, nil
			}
		}
		more, all := in.more, in.messages[:seen:seen]
		in.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
}

// Next waits for the next message and removes it.
func (in *Inbox) Next(ctx context.Context) (Message, error) {
	var next Message
	_, err := in.Until(ctx, func(m Message) bool { next = m; return true })
	return next, err
}
