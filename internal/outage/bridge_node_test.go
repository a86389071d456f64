//go:build linux

package outage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// The prefixes of the two generations.
const (
	prefixOld = "old"
	prefixNew = "new"
)

// bridgeConfig is a Go node on both prefixes that forwards the messages of each to the other.
type bridgeConfig struct {
	URL, Namespace         string
	Heartbeat, PeerTimeout time.Duration
}

// said is a line from a process.
type said struct {
	What string // "ready", "open", "sent", "report", "lost", "closed", "fault"
	Text string `json:",omitempty"`
	// Of "lost": the link to which the messages were not forwarded.
	Prefix    string `json:",omitempty"`
	Lost      int    `json:",omitempty"`
	Uncertain int    `json:",omitempty"`
	// Of "report".
	Received, Repeated, Disordered int
	Gap                            int // longest time between two messages, in ms
}

// run is the node's process: it forwards messages until it reads a line, and then closes.
func (c bridgeConfig) run() error {
	out := json.NewEncoder(os.Stdout)
	open := func(prefix string) (broker.Broker, error) {
		return redisbroker.Open(c.URL, &redisbroker.Options{Prefix: prefix})
	}
	old, err := open(prefixOld)
	if err != nil {
		return err
	}
	recent, err := open(prefixNew)
	if err != nil {
		return err
	}
	server, err := adapter.New(recent, &adapter.Options{
		Links:  []adapter.Link{{Broker: old, Dialect: adapter.V5}},
		Bridge: &adapter.Bridge{}, Heartbeat: c.Heartbeat, PeerTimeout: c.PeerTimeout,
		OnError: func(err error) { // calls come one at a time
			link, ok := errors.AsType[*adapter.LinkError](err)
			if !ok {
				_ = out.Encode(said{What: "error", Text: err.Error()})
				return
			}
			loss, ok := link.Err.(*broker.LossError)
			switch {
			case !ok:
				_ = out.Encode(said{What: "error", Text: err.Error()})
			case loss.Uncertain:
				_ = out.Encode(said{What: "lost", Prefix: link.Prefix, Uncertain: loss.Messages, Text: err.Error()})
			default:
				_ = out.Encode(said{What: "lost", Prefix: link.Prefix, Lost: loss.Messages, Text: err.Error()})
			}
		},
	})
	if err != nil {
		return err
	}
	if _, err := server.Of(context.Background(), c.Namespace); err != nil {
		return err
	}
	fmt.Println(`{"What":"ready"}`)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(server.Close(ctx), recent.Close(ctx), old.Close(ctx)); err != nil {
		return err
	}
	fmt.Println(`{"What":"closed"}`)
	return nil
}
