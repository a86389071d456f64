package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// user is a client that stays in one room. It follows its node's request to move: it connects to the other node
// first, and leaves the old one when messages that were on their way have had time to arrive.
type user struct {
	id, room string
	overlap  time.Duration // how long it is on both nodes

	mu        sync.Mutex
	conn      *websocket.Conn // in use for sending
	got       map[string]bool // messages, each once
	again     int             // messages that came on both connections
	moves     int             // by request of a node
	broken    int             // connections that ended otherwise
	leaving   bool            // the test has ended
	connected sync.WaitGroup  // readers
}

// connect opens a connection to a node, and returns when the user is in its room there.
func (u *user) connect(ctx context.Context, addr string) error {
	query := url.Values{"id": {u.id}, "room": {u.room}}
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/chat?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	if _, first, err := conn.Read(ctx); err != nil || string(first) != string(text) {
		conn.CloseNow()
		return fmt.Errorf("not in the room: %q, %w", first, err)
	}
	u.mu.Lock()
	old := u.conn
	u.conn = conn
	u.mu.Unlock()
	u.connected.Go(func() { u.read(ctx, conn) })
	if old != nil {
		u.connected.Go(func() {
			time.Sleep(u.overlap)
			old.Close(websocket.StatusNormalClosure, "moved")
		})
	}
	return nil
}

// read takes in what arrives on a connection until it ends.
func (u *user) read(ctx context.Context, conn *websocket.Conn) {
	for {
		_, payload, err := conn.Read(ctx)
		if err != nil {
			u.mu.Lock()
			if conn == u.conn && !u.leaving {
				u.broken++
			}
			u.mu.Unlock()
			return
		}
		switch payload[0] {
		case text:
			u.mu.Lock()
			if u.got[string(payload[1:])] {
				u.again++
			}
			u.got[string(payload[1:])] = true
			u.mu.Unlock()
		case move:
			u.mu.Lock()
			u.moves++
			u.mu.Unlock()
			to := string(payload[1:])
			u.connected.Go(func() { // messages still arrive meanwhile
				if err := u.connect(ctx, to); err != nil {
					u.mu.Lock()
					u.broken++
					u.mu.Unlock()
				}
			})
		}
	}
}

// say sends a message to the room, and returns it.
func (u *user) say(ctx context.Context, n int) (string, error) {
	message := u.id + " " + strconv.Itoa(n)
	u.mu.Lock()
	conn := u.conn
	u.mu.Unlock()
	return message, conn.Write(ctx, websocket.MessageText, []byte(message))
}

// leave closes the connection.
func (u *user) leave() {
	u.mu.Lock()
	u.leaving = true
	conn := u.conn
	u.mu.Unlock()
	if conn != nil {
		conn.Close(websocket.StatusNormalClosure, "")
	}
	u.connected.Wait()
}

// lacks returns how many of its room's messages did not arrive.
func (u *user) lacks(sent []string) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, message := range sent {
		if !u.got[message] {
			n++
		}
	}
	return n
}

// name returns the name of the user or room with that number.
func name(kind string, n int) string { return kind + "-" + strconv.Itoa(n) }
