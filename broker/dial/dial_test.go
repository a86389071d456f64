package dial_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/dial"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/internal/servers"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// Each form of an address opens the right broker, with the right client, and without a connection.
func TestForms(t *testing.T) {
	redisWith := func(check func(c redis.UniversalClient) bool) func(broker.Broker) bool {
		return func(b broker.Broker) bool {
			r, ok := b.(*redisbroker.Broker)
			return ok && check(r.PublishClient())
		}
	}
	single := func(addr, user, password string, tls bool) func(broker.Broker) bool {
		return redisWith(func(c redis.UniversalClient) bool {
			o := c.(*redis.Client).Options()
			return o.Addr == addr && o.Username == user && o.Password == password && (o.TLSConfig != nil) == tls && o.DB == 0
		})
	}
	isNATS := func(b broker.Broker) bool { _, ok := b.(*natsbroker.Broker); return ok }
	for address, is := range map[string]func(broker.Broker) bool{
		"memory":                           func(b broker.Broker) bool { _, ok := b.(*memorybroker.Broker); return ok },
		"redis://127.0.0.1:1":              single("127.0.0.1:1", "", "", false),
		"redis://h":                        single("h:6379", "", "", false),
		"REDIS://h/":                       single("h:6379", "", "", false),
		"redis://u:p%40%2F%3F@h:7/0":       single("h:7", "u", "p@/?", false),
		"redis://:p@[::1]:7":               single("[::1]:7", "", "p", false),
		"redis://[::1]":                    single("[::1]:6379", "", "", false),
		"rediss://u@h":                     single("h:6379", "u", "", true),
		"rediss://h?tls_server_name=other": redisWith(func(c redis.UniversalClient) bool { return c.(*redis.Client).Options().TLSConfig.ServerName == "other" }),
		"redis://h?client_name=a%20b":      redisWith(func(c redis.UniversalClient) bool { return c.(*redis.Client).Options().ClientName == "a b" }),
		"unix://u:p@/run/redis%20.sock":    single("/run/redis .sock", "u", "p", false),
		"unix:///run/redis.sock":           single("/run/redis.sock", "", "", false),
		"redis+sentinel://a,b:2/main?sentinel_username=s&sentinel_password=t": redisWith(func(c redis.UniversalClient) bool {
			return c.(*redis.Client).Options().Addr == "FailoverClient"
		}),
		"rediss+sentinel://a/main": redisWith(func(c redis.UniversalClient) bool {
			return c.(*redis.Client).Options().TLSConfig != nil
		}),
		"redis+cluster://u:p@a,b:2,[::1]:3": redisWith(func(c redis.UniversalClient) bool {
			o := c.(*redis.ClusterClient).Options()
			return assert.ObjectsAreEqual([]string{"a:6379", "b:2", "[::1]:3"}, o.Addrs) && o.Username == "u" && o.Password == "p"
		}),
		"rediss+cluster://a":                  redisWith(func(c redis.UniversalClient) bool { return c.(*redis.ClusterClient).Options().TLSConfig != nil }),
		"nats://127.0.0.1:1":                  isNATS,
		"nats://u:p@a:1,nats://u:p@b":         isNATS,
		"nats://token@a?client_name=chat":     isNATS,
		"tls://a:4222,b:42?tls_server_name=x": isNATS,
	} {
		system, err := dial.New(address, nil)
		if !assert.NoError(t, err, address) {
			continue
		}
		one, err := system.Broker()
		require.NoError(t, err, address)
		other, err := dial.Open(address, &dial.Options{Prefix: "shop"})
		require.NoError(t, err, address)
		assert.True(t, is(one) && is(other), "%s: %T", address, one)
		assert.Equal(t, one.Capabilities().Name, system.System(), address)
		if system.System() != "memory" {
			assert.Equal(t, "shop", other.Capabilities().Prefix, address)
		}
		for _, b := range []broker.Broker{one, other} {
			assert.NoError(t, b.Close(t.Context()), address)
		}
	}
}

// What is not documented is refused, with a reason, and without a part of the address.
func TestRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for address, reason := range map[string]string{
		"":                                      "want memory",
		"redis":                                 "want memory",
		"localhost:6379":                        "want memory",
		"Memory":                                "want memory",
		"memory?prefix=a":                       "no parameters",
		"amqp://me:secret@host":                 "want memory",
		"me:secret@host":                        "want memory",
		"unix+sentinel:///x":                    "scheme",
		"redis+other://host":                    "scheme",
		"redis://":                              "no host",
		"redis://:6379":                         "no host",
		"redis://host:0":                        "port",
		"redis://host:secret":                   "port",
		"redis://host/1":                        "database",
		"redis://host?db=0":                     "database",
		"redis://host/secret":                   "follows the host",
		"redis://a,b":                           "more than one host",
		"redis+sentinel://a,b":                  "name-of-the-master",
		"redis+sentinel://a/b/c":                "name-of-the-master",
		"redis+cluster://a/2":                   "database",
		"redis+cluster://a,,b":                  "host 2",
		"redis://host?pool_size=2":              "unknown parameter",
		"rediss://host?skip_verify=true":        "certificates are always verified",
		"rediss+cluster://h?skip_verify=true":   "certificates are always verified",
		"redis://host?secret=1":                 "unknown parameter",
		"redis://host?tls_ca=x":                 "unknown parameter",
		"redis://host?sentinel_password=":       "unknown parameter",
		"redis://host?a;b":                      "form name=value",
		"redis://h?client_name=a&client_name=b": "twice",
		"redis://me:sec/ret@host":               "percent-encoded",
		"redis://me:sec#ret@host":               "percent-encoded",
		"redis://me:sec?ret@host":               "percent-encoded",
		"redis://me:sec@ret@host":               "percent-encoded",
		"redis://me:sec:ret@host":               "percent-encoded",
		"redis://me:sec%ret@host":               "percent",
		"rediss://host?tls_ca=/secret":          "tls_ca",
		"rediss://host?tls_ca=" + file:          "no certificate",
		"rediss://host?tls_cert=" + file:        "belong together",
		"rediss://host?tls_cert=" + file + "&tls_key=" + file: "certificate and its key",
		"unix://":                         "unix:///path",
		"unix://host/path":                "unix:///path",
		"nats://":                         "host",
		"nats://host?tls_ca=x":            "unknown parameter",
		"nats://host?sentinel_username=x": "unknown parameter",
		"nats://host?credentials=/secret": "credentials",
		"nats://host/path":                "text after the host",
		"nats://u:12,34@host":             "before it",
		"nats://a:b@h,34@host":            "escaped",
		"redis://host?prefix=a%23b":       "prefix",
		"nats://host?prefix=a%20b":        "prefix",
		"redis://host?sharded=1":          "neither true nor false",
		"nats://host?sharded=true":        "unknown parameter",
	} {
		b, err := dial.Open(address, nil)
		if !assert.Error(t, err, address) {
			b.Close(t.Context())
			continue
		}
		assert.IsType(t, &dial.AddressError{}, err, address)
		assert.Contains(t, err.Error(), reason, address)
		assert.NotContains(t, err.Error(), "secret", address)
		assert.True(t, b == nil, "%s: a broker that is a nil pointer", address)
	}
	_, err := dial.Open("redis://host?prefix=a", &dial.Options{Prefix: "a"})
	assert.ErrorContains(t, err, "in the address and in Options")
	for address, want := range map[string]bool{"redis://host": false, "redis://host?sharded=false": false, "redis://host?sharded=true": true} {
		b, err := dial.Open(address, nil)
		require.NoError(t, err, address)
		assert.Equal(t, want, b.Capabilities().OnlyExactly, address)
		require.NoError(t, b.Close(t.Context()))
	}
}

// The addresses of real servers work: messages pass between the brokers of one dialer.
func TestServers(t *testing.T) {
	t.Parallel()
	secure, secureNATS := servers.StartRedis(t, &servers.RedisOptions{Password: "p/w", TLS: true}), servers.StartNATS(t, &servers.NATSOptions{TLS: true})
	sentinel, cluster := servers.StartSentinel(t), servers.StartRedisCluster(t)
	for _, address := range []string{
		"memory",
		secure.URL() + "?client_name=crossroom&tls_ca=" + secure.CA(),
		"redis+sentinel://127.0.0.1:1," + sentinel.Addr() + "/" + sentinel.Name,
		"redis+cluster://" + strings.Join(cluster.Addrs(), ","),
		"redis+cluster://" + strings.Join(cluster.Addrs(), ",") + "?sharded=true",
		secureNATS.URL() + "?tls_ca=" + secureNATS.CA(),
		servers.StartNATSCluster(t, nil).URLs(),
	} {
		system, err := dial.New(address, nil)
		require.NoError(t, err, address)
		from, err := system.Broker()
		require.NoError(t, err, address)
		defer from.Close(context.Background())
		to, err := system.Broker()
		require.NoError(t, err, address)
		defer to.Close(context.Background())
		ch := broker.Native.Broadcast("/")
		got := make(received, 1)
		_, err = to.Subscribe(t.Context(), got, broker.Exactly(ch))
		require.NoError(t, err, address)
		require.NoError(t, from.Publish(t.Context(), ch, []byte("hello")), address)
		assert.Equal(t, "hello", <-got, address)
	}
}

type received chan string

func (r received) Deliver(_ broker.Channel, payload []byte) { r <- string(payload) }
func (received) Interrupted(error)                          {}
func (received) Resumed()                                   {}

// No address, however it is damaged, makes Open panic, connect, or repeat a part of the address.
func FuzzAddress(f *testing.F) {
	for _, form := range []string{
		"redis://u:%s@h:1/0?client_name=x", "rediss://%s@h", "unix://:%s@/p", "redis+sentinel://:%s@a,b/m?sentinel_password=%s",
		"redis+cluster://u:%s@a,b", "nats://u:%s@a,nats://u:%s@b", "tls://%s@a?prefix=%s", "%s", "redis://h?%s=1", "memory?%s", "nats://a,%s",
	} {
		f.Add(form, "p/w")
		f.Add(form, "1,2@x:3")
	}
	const mark = "S3cr3tM4rk"
	f.Fuzz(func(t *testing.T, form, special string) {
		if strings.Contains(form, "tls_") || strings.Contains(form, "credentials") {
			t.Skip("reads files")
		}
		address := strings.ReplaceAll(form, "%s", mark+special+mark)
		b, err := dial.Open(address, nil)
		if err != nil {
			if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, mark) {
				t.Fatalf("%q: the error repeats a part of it: %s", address, text)
			}
			return
		}
		if err := b.Close(context.Background()); err != nil {
			t.Fatalf("%q: Close: %v", address, err)
		}
	})
}
