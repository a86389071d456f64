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

// limits are the largest payloads that servers accept, and pass on without disconnecting
// their subscribers. Each new connection reads those of its server.
type limits struct {
	max int // Options.MaxPayload
	log *slog.Logger

	mu    sync.Mutex
	below map[limitKey]int // less than max
	least atomic.Int64     // of max and these
}

// limitKey is a connection whose server's limits matter for as long as it is used.
type limitKey struct {
	use  use
	addr string // empty for publishing and subscribing, which have one connection each
}

func newLimits(opts *Options) *limits {
	l := &limits{max: opts.MaxPayload, log: opts.Logger, below: map[limitKey]int{}}
	l.least.Store(int64(l.max))
	return l
}

// check refuses a payload that is too large for a server or for the options.
func (l *limits) check(payload []byte) error {
	if least := int(l.least.Load()); len(payload) > least {
		return &broker.PayloadError{Size: len(payload), Max: least}
	}
	return nil
}

// learn reads the response to limitQuery on a new connection. It logs one that is below
// Options.MaxPayload once. A server that refuses, as most managed ones do, allows everything.
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
	if c.use == forQueries || c.use == forSurveys {
		key = limitKey{forQueries, c.addr}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.below[key]
	delete(l.below, key)
	if allowed > 0 && allowed < l.max {
		l.below[key] = allowed
		if allowed != before {
			l.log.Warn("redis broker: the server allows smaller payloads than MaxPayload, so larger ones are refused",
				"addr", c.addr, "allowed", allowed, "max_payload", l.max, "setting", setting)
		}
	}
	l.total()
	return nil
}

// forget drops what a server allows that is queried no longer.
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

// limitQuery reads them, one each: before Redis 7 CONFIG GET takes one name.
var limitQuery = appendCommand(appendCommand(nil, "CONFIG", "GET", outputLimit), "CONFIG", "GET", bulkLimit)

// readLimits takes the responses to limitQuery. It returns the largest payload that the
// server allows, zero if it does not say, and the setting that decides.
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

// pubsubLimit reads a client-output-buffer-limit: four words for each class of clients,
// which are its name, a hard limit, a soft limit and the seconds for which that may be
// exceeded. It returns the largest payload that exceeds none by itself, zero if there is
// none. Zero seconds do not disable the soft limit, zero bytes do. A server that keeps one more payload than that for a subscriber disconnects it:
// above the hard limit at once, above the soft limit also if it did so before, longer
// than those seconds ago, and the subscriber has read everything in between.
func pubsubLimit(value string) (allowed int) {
	words := strings.Fields(value)
	for ; len(words) >= 4; words = words[4:] {
		if words[0] != "pubsub" {
			continue
		}
		hard, _ := strconv.Atoi(words[1])
		soft, _ := strconv.Atoi(words[2])
		for _, limit := range []int{hard, soft} {
			// An allocator rounds up by a quarter at most, and names and the server's own
			// records come on top.
			if n := limit*4/5 - min(64<<10, limit/10); limit > 0 && (allowed == 0 || n < allowed) {
				allowed = n
			}
		}
	}
	return allowed
}
