package interop_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// bridged is a row of the table: what foreign senders publish on one prefix, and a Go node passes
// on to servers on another prefix.
var bridged = harmOp{
	name: "messages that the bridge forwards", on: []interop.Generation{v5, v8}, mixed: true,
	contents: (*harmNames).strange, perName: 1, play: playBridge, batch: 300,
}

// encoded is an event that is already encoded. Only a foreign sender can publish such an event.
const encoded = "encoded"

// strange are contents that are passed on encoded, and events that no Go node would send.
func (n *harmNames) strange() []content {
	list := append(sample(n.contents(), 23), n.events()...)
	for _, data := range []string{
		"\x90", "\x91\xc0", "\x91\xc3", "\x91\x80", "\x91\x90", "\x91\xc4\x01a", "\x91\x01", "\x91\xff", "\x91\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00",
		"\x91\xa7connect", "\x91\xaadisconnect", "\x91\xadconnect_error", "\x91\xa1\xff", "\x91\xd9\x01e",
		"\x92\xa1e\x81\xc4\x09__proto__\x01", "\x92\xa1e\x81\xc4\x09__proto__\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x01",
		"\x92\xa1e\x81\x91\xa9__proto__\x80", "\x92\xa1e\x81\x82\xa8toString\x01\xa7valueOf\x01\x01", "\x92\xa1e\x81\xc0\x01", "\x92\xa1e\x81\x01\x01", "\x92\xa1e\x81\xc3\x01",
		"\x92\xa1e\x81\xd4\x00\x00\x01", "\x92\xa1e\xd4\x00\x00", "\x92\xa1e\xd4\x00\x07", "\x92\xa1e\xd4\xff\x00", "\x92\xa1e\xd5\xff\x00\x00", "\x92\xa1e\xd5\x00\x00\x00",
		"\x92\xa1e\xd6\xff\x00\x00\x00\x01", "\x92\xa1e\xd7\xff\x00\x00\x00\x01\x00\x00\x00\x01", "\x92\xa1e\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x92\xa1e\xd8\xff0123456789012345",
		"\x92\xa1e\xc7\x05\xff12345", "\x92\xa1e\xc7\x00\xff", "\x92\xa1e\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "\x92\xa1e\xc7\x0c\xff\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
		"\x92\xa1e\xc7\x04\xff\x00\x00\x00\x01", "\x92\xa1e\xc8\x00\x04\xff\x00\x00\x00\x01", "\x92\xa1e\xc7\x08\x00abcdefgh", "\x92\xa1e\xc7\x00\x00", "\x92\xa1e\xc7\x01\x00a", "\x92\xa1e\xc8\x00\x01\x00a", "\x92\xa1e\xc7\x03\x07abc",
		"\x92\xa1e\xd7\x00\x7f\xff\xff\xff\xff\xff\xff\xff", "\x92\xa1e\xca\x7f\xc0\x00\x00", "\x92\xa1e\xd3\xff\xff\xff\xff\xff\xff\xff\xff", "\x92\xa1e\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x92\xa1e\xdd\x00\x00\x00\x01\xc0", "\x92\xa1e\xdf\x00\x00\x00\x01\xa1a\xc0", "\x92\xa1e\xdb\x00\x00\x00\x01a", "\x92\xa1e\x82\xa1a\x01\xa1a\x02",
		"\x92\xa1e\x81\xa3\xed\xa0\x80\x01", "\x92\xa1e\xa3\xed\xa0\x80", "\x92\xa1e\xc1", "\x92\xa1e",
	} {
		list = append(list, content{encoded, []any{msgpack.Raw(data)}})
	}
	return list
}

// strangers is the prefix of the foreign senders, beside the fleet's own prefix.
func strangers(f *harmFleet) string { return "strangers-" + f.asking.server.Prefix() }

// startBridged starts a fleet whose Go nodes are also on the prefix of the foreign senders.
func startBridged(t *testing.T, redis string, versions ...interop.Generation) *harmFleet {
	prefix := fmt.Sprint("harm-", harmFleets.Add(1))
	f := startHarmFleet(t, redis, versions, prefix, func(o *adapter.Options) {
		d := adapter.V5
		if o.Dialect == adapter.V5 {
			d = adapter.V6
		}
		o.Links = []adapter.Link{{Broker: openBroker(t, redis, "strangers-"+prefix), Dialect: d}}
		o.Bridge = &adapter.Bridge{}
		o.Heartbeat, o.PeerTimeout = 100*time.Millisecond, deadline
	})
	f.strangers = interop.Watch(t, redis)
	for range 300 { // until one of the Go nodes passes messages on
		if f.publish(msgpack.AppendString([]byte{0x91}, "probe")) != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
		if got, _ := f.settle(); len(got[f.clients[0]]) > 0 {
			break
		}
	}
	return f
}

// publish publishes an event as a foreign sender does.
func (f *harmFleet) publish(data []byte) error {
	m := append(msgpack.AppendString([]byte{0x93}, "stranger"), "\x83\xa4type\x02\xa4data"...)
	m = msgpack.AppendString(append(append(m, data...), "\xa3nsp"...), f.nsp)
	m = append(m, "\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80"...)
	return f.strangers.Publish(f.ctx, strangers(f)+"#"+f.nsp+"#", string(m))
}

// playBridge publishes contents as a foreign sender does. Each message reaches every client, or is
// reported as lost.
func playBridge(f *harmFleet, list []content) (lost int, err error) {
	f.reports(0)
	var sent []content
	malformed := 0 // one report can cover several of these
	for _, c := range list {
		if c.event == encoded {
			malformed++
		}
		data, err := []byte(nil), error(nil)
		if c.event == encoded {
			data = []byte(c.args[0].(msgpack.Raw))
		} else {
			f.count++
			c.args = append(slices.Clip(c.args), f.count)
			data = msgpack.AppendArrayLen(nil, 1+len(c.args))
			data = msgpack.AppendString(data, c.event)
			for _, v := range c.args {
				if data, _, err = msgpack.AppendValue(data, v); err != nil {
					break
				}
			}
		}
		if err != nil {
			lost++ // it cannot be published
			continue
		}
		if err := f.publish(data); err != nil {
			return 0, err
		}
		sent = append(sent, c)
	}
	got, err := f.settleBy(func(n float64) error {
		return f.publish(msgpack.AppendNumber(msgpack.AppendString([]byte{0x92}, marker), n))
	})
	if err != nil {
		return 0, err
	}
	dropped, arrived := 0, len(got[f.clients[0]])
	for end := time.Now().Add(5 * time.Second); arrived+dropped < len(sent)-malformed && time.Now().Before(end); time.Sleep(time.Millisecond) {
		dropped += lostBy(f.reports(1))
	}
	for c, list := range got {
		if len(list) != len(got[f.clients[0]]) || len(list) < len(sent)-dropped-malformed {
			return 0, fmt.Errorf("a client of %s got %d of %d events, %d were reported as lost", c.peer.Name(), len(list), len(sent), dropped)
		}
		i := 0
		for _, m := range list {
			for ; i < len(sent) && sent[i].event != encoded; i++ {
				want := interop.Message{Event: sent[i].event, Args: atClients(sent[i].args, c.peer.Generation() == v5 && f.mixed)}
				if m.Text() == want.Text() {
					break
				}
			}
			if i == len(sent) {
				return 0, fmt.Errorf("a client of %s got %v, which was not sent, or earlier", c.peer.Name(), m)
			}
			if sent[i].event != encoded {
				i++
			}
		}
	}
	return lost + len(sent) - len(got[f.clients[0]]), nil
}

// lostBy returns the number of messages that the reports cover.
func lostBy(reports []error) (n int) {
	for _, err := range reports {
		if loss, ok := errors.AsType[*broker.LossError](err); ok {
			n += loss.Loss.Messages
		} else {
			n++ // it is unreadable
		}
	}
	return n
}
