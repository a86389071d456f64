package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
)

// raw is the limit of Redis: many PUBLISH commands written at a time to a plain connection, and a reader that only
// counts bytes.
func raw(_ context.Context, s *stage) (round, error) {
	const channel, batch = "raw#" + room + "#", 256
	publish := fmt.Sprintf("*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(event), event)
	message := fmt.Sprintf("*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(event), event)
	subscribe := fmt.Sprintf("*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", len(channel), channel)
	subscribed := fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(channel), channel)
	commands := bytes.Repeat([]byte(publish), batch)

	sub, err := net.Dial("tcp", s.redis.Addr)
	if err != nil {
		return nil, err
	}
	s.later(sub.Close)
	pub, err := net.Dial("tcp", s.redis.Addr)
	if err != nil {
		return nil, err
	}
	s.later(pub.Close)
	if _, err := io.WriteString(sub, subscribe); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(sub, make([]byte, len(subscribed))); err != nil {
		return nil, err
	}

	f := newFlow()
	go func() { // ends when sub is closed
		buf := make([]byte, 64<<10)
		rest := 0
		for {
			n, err := sub.Read(buf)
			if err != nil {
				return
			}
			rest += n
			f.arrived(int64(rest / len(message)))
			rest %= len(message)
		}
	}()
	go func() { _, _ = io.Copy(io.Discard, pub) }() // the replies; ends when pub is closed

	return func(ctx context.Context) (int64, figures, error) {
		return f.write(ctx, s.length, batch, func() error { _, err := pub.Write(commands); return err })
	}, nil
}
