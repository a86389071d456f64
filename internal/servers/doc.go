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
// The children are those of package child, which says where programs come from and
// that nothing stays behind. Without a program the test is skipped with a line that
// begins with "SKIPPED-SERVER:", so that a run can list what it did not check. Where
// that would be a lie (the environment variable CI is set, or
// CROSSROOM_REQUIRE_SERVERS) it fails instead. Temporary directories are the test's own.
package servers
