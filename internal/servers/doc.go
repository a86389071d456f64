// Package servers starts real servers as child processes for tests. Package
// conformance/tcpproxy breaks the traffic to them.
//
//	srv := servers.StartRedis(t, nil)              // a redis-server on a free loopback port
//	link := tcpproxy.Start(t, srv.Addr())          // a TCP link that can be cut, held and healed
//	...
//	srv.Kill()                                     // SIGKILL, as a crash would
//	srv.Restart()                                  // again on the same port
//
// [Server] holds what all servers have in common: it can be stopped, killed,
// paused, continued and restarted on the same port. [Redis] adds passwords, users,
// TLS and a plain client for commands; [RedisCluster] and [Sentinel] are made of
// several. [NATS] and [NATSCluster] are the same for nats-server, with what it says
// about itself (Monitor). Everything ends with the test, through its Cleanup.
//
// # Where the binaries come from
//
// The environment variable CROSSROOM_REDIS_SERVER (CROSSROOM_NATS_SERVER) names the
// file; otherwise .tools/redis-server (.tools/nats-server) below the module's root is
// taken, otherwise PATH is searched.
// Without a binary the test is skipped with a line that begins with
// "SKIPPED-SERVER:", so that a run can list what it did not check. Where that would
// be a lie (the environment variable CI is set, or CROSSROOM_REQUIRE_SERVERS) it
// fails instead.
//
// # Nothing stays behind
//
// Each child is started from a thread of its own that lives as long as the child,
// and on Linux is told to die with that thread (Pdeathsig): a test process that is
// killed, panics or times out takes its servers with it. Temporary directories are
// the test's own.
package servers
