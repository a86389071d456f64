package natsbroker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
)

// nowhere is a dialer that always fails. Its error has the address.
type nowhere struct{}

func (nowhere) Dial(network, address string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("no route to %s", address)}
}

// secretAddresses are addresses with secrets that are unescaped or wrongly escaped. Each secret has
// words that occur in no other text.
func secretAddresses() []string {
	var all []string
	for _, c := range []string{"", "/", "=", "@", ":", "#", "%", "?", " ", "é", "🚀", "\\", "[", "]", "{", "&", "+", ",", ";", "!", "$", "'", `"`, "<", "|", "^", "`",
		"\n", "\t", "\x00", "\xff", "%zz", "%2", "%00", "//", "://", "@/", "/@", ",@", "?@", "#@", ":12/", ":12?", ":12#", ":12,", ":12,nats://", ",tls://", "%2F", "%40"} {
		for _, secret := range []string{"Zebra" + c + "Quagga", "12345" + c + "Quagga", "Zebra" + c + "54321", c + "Zebra", "Quagga" + c, "Zebra" + c + c + "1:" + c + "Quagga"} {
			for _, user := range []string{secret + "@", "user:" + secret + "@", secret + ":Zebra@"} {
				for _, host := range []string{"localhost:4222", ""} {
					for _, scheme := range []string{"nats://", "", "redis://", "nats:/"} {
						all = append(all, scheme+user+host)
					}
				}
				all = append(all, "nats://one:1,nats://"+user+"two:2,three:3", "nats://"+user+"one:1,"+user+"two:2", "nats://"+user+"one:1,nats://"+user+"two:2", "tls://"+user+"one:1,two:2", "one:1,"+user+"two:2")
			}
		}
	}
	return all
}

// TestSecretsAreNotPrinted: however a broker parses an address with a secret, no
// part of the secret is in an error, in the log, or in any other text of the broker.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	refused, taken := 0, 0
	for i, address := range secretAddresses() {
		var mu sync.Mutex // a loss can be reported after Close, whose context has ended
		said := ""
		log := &brokertest.Log{}
		hears := func(what ...any) {
			mu.Lock()
			defer mu.Unlock()
			for _, w := range what {
				said += fmt.Sprintf("%v %+v\n", w, w)
			}
		}
		b, err := natsbroker.Open(address, &natsbroker.Options{
			NATS: []nats.Option{nats.SetCustomDialer(nowhere{})}, Logger: log.Logger(), QueueAge: time.Nanosecond, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond,
		})
		var bad *natsbroker.AddressError
		switch {
		case errors.As(err, &bad):
			refused++
			hears(err)
		case err != nil:
			t.Fatalf("address %q: %v, want an *AddressError", address, err)
		case i%31 > 0: // a sample of these is enough
			taken++
			b.Close(t.Context())
		default:
			taken++
			b.OnLoss(func(l broker.Loss) { hears(l.Err) })
			publish(t, b, room, "x")
			_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
			hears(err, b.Flush(within(t, patience)), b.Stats(), b.Capabilities())
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			hears(b.Close(ctx), b.Close(ctx), log.String())
		}
		mu.Lock()
		text := said
		mu.Unlock()
		if strings.Contains(text, "user") && !strings.Contains(text, "a user") {
			t.Errorf("address %d, %q: the user's name is in\n%s", i, address, text)
		}
		for _, word := range []string{"Zebra", "Quagga", "12345", "54321", "zebra", "quagga", url.QueryEscape("é")} {
			require.NotContains(t, text, word, "address %d, %q", i, address)
		}
	}
	require.GreaterOrEqual(t, refused, 500, "%d addresses were refused and %d accepted: too few of one kind", refused, taken)
	require.GreaterOrEqual(t, taken, 500, "%d addresses were refused and %d accepted: too few of one kind", refused, taken)
	t.Logf("%d addresses were refused and %d accepted", refused, taken)
}

// TestEscapedSecrets: a correctly escaped secret reaches the server unchanged.
func TestEscapedSecrets(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"Secret/x=", "a@b:c#d%e?f g,h", "é🚀", "-._~"} {
		for _, address := range []string{
			"nats://me:" + url.PathEscape(secret) + "@", // as a password, in which a comma is
			"tls://me:" + strings.ReplaceAll(url.QueryEscape(secret), "+", "%20") + "@",
		} {
			address = strings.ReplaceAll(address, ",", "%2C") + "localhost:4222"
			b, err := natsbroker.Open(address, nil)
			if err != nil {
				t.Errorf("%q: %v", address, err)
				continue
			}
			b.Close(t.Context())
		}
	}
}
