package redisbroker

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
)

// limits are the largest payloads that servers accept, and that they pass on without
// disconnecting subscribers. Each new connection reads the limits of its server.
type limits struct {
	max int // Options.MaxPayload
	log *slog.Logger
	// each: there is a connection for publishing, and one for subscribing, to each of several servers.
	each bool

	mu    sync.Mutex
	below map[limitKey]int // limits that are less than max
	least atomic.Int64     // the smallest of max and these
}

// limitKey identifies a connection. Its server's limits apply for as long as it is used.
type limitKey struct {
	use  use
	addr string // empty for publishing and subscribing, which have one connection each
}

func newLimits(opts *Options) *limits {
	l := &limits{max: opts.MaxPayload, log: opts.Logger, below: map[limitKey]int{}}
	l.least.Store(int64(l.max))
	return l
}

// check refuses a payload that exceeds the options or a server's limit.
func (l *limits) check(payload []byte) error {
	if least := int(l.least.Load()); len(payload) > least {
		return &broker.PayloadError{Size: len(payload), Max: least}
	}
	return nil
}

// learn reads the replies to limitQuery on a new connection. It logs a limit below
// Options.MaxPayload once. A server that refuses the query, as most managed ones do, is assumed
// to allow every payload.
func (l *limits) learn(c *conn) error {
	answers := make([]any, 2)
	for i := range answers {
		var err error
		if answers[i], err = readReply(c.r, "CONFIG"); err != nil {
			return err
		}
	}
	allowed, setting := readLimits(answers)
	key := limitKey{use: c.use}
	switch {
	case c.use == forQueries || c.use == forSurveys:
		key = limitKey{forQueries, c.addr}
	case l.each:
		key.addr = c.addr
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.below[key]
	delete(l.below, key)
	if allowed > 0 && allowed < l.max {
		l.below[key] = allowed
		if allowed != before {
			l.log.Warn("redis broker: the server allows less than MaxPayload: Publish refuses larger payloads",
				"addr", c.addr, "allowed", allowed, "max_payload", l.max, "setting", setting)
		}
	}
	l.total()
	return nil
}

// forget drops the limits of a server that is not queried any more.
func (l *limits) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.below, limitKey{forQueries, c.addr})
	l.total()
}

func (l *limits) total() {
	least := l.max
	for _, n := range l.below {
		least = min(least, n)
	}
	l.least.Store(int64(least))
}

// The settings that limit payloads.
const (
	outputLimit = "client-output-buffer-limit"
	bulkLimit   = "proto-max-bulk-len"
)

// limitQuery reads the two settings, one at a time: before Redis 7, CONFIG GET takes one name.
var limitQuery = appendCommand(appendCommand(nil, "CONFIG", "GET", outputLimit), "CONFIG", "GET", bulkLimit)

// readLimits evaluates the replies to limitQuery. It returns the largest payload that the server
// allows, and the setting that limits it. It returns zero if the server does not say.
func readLimits(answers []any) (allowed int, setting string) {
	for _, answer := range answers {
		list, _ := answer.([]any) // a *ServerError if the user lacks the permission
		for i := 0; i+1 < len(list); i += 2 {
			name, _ := list[i].(string)
			value, _ := list[i+1].(string)
			n := 0
			switch name {
			case outputLimit:
				n = pubsubLimit(value)
			case bulkLimit:
				n, _ = strconv.Atoi(value)
			}
			if n > 0 && (allowed == 0 || n < allowed) {
				allowed, setting = n, fmt.Sprintf("%s %s", name, value)
			}
		}
	}
	return allowed, setting
}

// pubsubLimit evaluates a client-output-buffer-limit. That has four words for each class of
// clients: its name, a hard limit, a soft limit, and the seconds for which the soft limit may be
// exceeded. pubsubLimit returns the largest payload that exceeds no limit by itself, or zero if
// there is no limit. Zero bytes disable the soft limit; zero seconds do not.
//
// A server disconnects a subscriber for which it keeps more than that. Above the hard limit it
// does so at once. Above the soft limit it does so if the limit was already exceeded longer than
// those seconds ago, even if the subscriber has read everything in between.
func pubsubLimit(value string) (allowed int) {
	words := strings.Fields(value)
	for ; len(words) >= 4; words = words[4:] {
		if words[0] != "pubsub" {
			continue
		}
		hard, _ := strconv.Atoi(words[1])
		soft, _ := strconv.Atoi(words[2])
		for _, limit := range []int{hard, soft} {
			// An allocator rounds up by at most a quarter. Names and the server's own records
			// need memory as well.
			if n := limit*4/5 - min(64<<10, limit/10); limit > 0 && (allowed == 0 || n < allowed) {
				allowed = n
			}
		}
	}
	return allowed
}
