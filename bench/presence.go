package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/presence"
)

// coreNode is a node of package backplane on Redis.
func coreNode(ctx context.Context, s *stage) (*backplane.Node, error) {
	b, err := with(ctx, s, onRedis)
	if err != nil {
		return nil, err
	}
	n, err := backplane.New(b, nil)
	if err == nil {
		s.later(func() error { return n.Close(context.WithoutCancel(ctx)) })
	}
	return n, err
}

// arrival is a member that reports each message.
type arrival chan struct{}

func (arrival) ID() string                     { return "arrival" }
func (a arrival) Deliver(m *backplane.Message) { a <- struct{}{} }
func (arrival) Disconnect(bool)                {}

// broadcasts sends one broadcast after another to a member of another node.
func broadcasts(ctx context.Context, s *stage) (round, error) {
	sender, err := coreNode(ctx, s)
	if err != nil {
		return nil, err
	}
	receiver, err := coreNode(ctx, s)
	if err != nil {
		return nil, err
	}
	from, err := sender.Namespace(ctx, "broadcasts", nil)
	if err != nil {
		return nil, err
	}
	to, err := receiver.Namespace(ctx, "broadcasts", nil)
	if err != nil {
		return nil, err
	}
	arrived, payload := make(arrival, 1), []byte(event[:64])
	if err := to.Add(ctx, arrived); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (int64, figures, error) {
		return s.oneByOne(func() error {
			if err := from.Broadcast(ctx, payload, backplane.All()); err != nil {
				return err
			}
			select {
			case <-arrived:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}, nil
}

// changes has a member of a room change its state, one change after another: each has arrived in a Watch loop of another
// node. The room has so many members, on both nodes.
func changes(members int) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		var nodes [2]*presence.Presence
		for i := range nodes {
			n, err := coreNode(ctx, s)
			if err != nil {
				return nil, err
			}
			if nodes[i], err = presence.New(ctx, n, nil); err != nil {
				return nil, err
			}
			s.later(func() error { return nodes[i].Close(context.WithoutCancel(ctx)) })
			for j := range members / len(nodes) {
				if err := nodes[i].Join(room, presence.Member{ID: fmt.Sprint(j)}); err != nil {
					return nil, err
				}
			}
		}
		for _, p := range nodes {
			if err := p.AwaitSync(ctx); err != nil {
				return nil, err
			}
		}
		arrived, watching := make(chan byte, 1), make(chan struct{})
		go func() { // ends when the node is closed
			for c := range nodes[1].Watch(ctx, room) {
				switch c.Kind {
				case presence.Snapshot:
					close(watching)
				case presence.Updated:
					arrived <- c.Member.State[0]
				}
			}
			close(arrived)
		}()
		<-watching
		next := byte(0)
		return func(ctx context.Context) (int64, figures, error) {
			return s.oneByOne(func() error {
				next++
				if err := nodes[0].Join(room, presence.Member{ID: "0", State: []byte{next}}); err != nil {
					return err
				}
				select {
				case got, ok := <-arrived:
					if !ok || got != next {
						return errors.New("presence: another change arrived")
					}
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}, nil
	}
}
