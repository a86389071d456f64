// Package servers starts real servers as child processes for tests. Package conformance/tcpproxy breaks the traffic to
// them.
//
//	srv := servers.StartRedis(t, nil)              // a redis-server on a free loopback port
//	link := tcpproxy.Start(t, srv.Addr())          // a TCP link that can be cut, held and healed
//	...
//	srv.Kill()                                     // SIGKILL, like a crash
//	srv.Restart()                                  // again on the same port
//
// [Server] has the common methods of all servers: stop, kill, freeze, thaw, and restart on the same port. [Redis] adds
// passwords, users, TLS and a plain client for commands; [RedisCluster] and [Sentinel] consist of several. [NATS] and
// [NATSCluster] are the same for nats-server, with its monitoring endpoint (Monitor). The test's Cleanup ends
// everything.
//
// Package child starts the children. It documents where programs come from, and why no process stays behind. Without
// the program the test is skipped with a line that begins with "SKIPPED-SERVER:", so that a run can list its
// omissions. If the environment variable CI or CROSSROOM_REQUIRE_SERVERS is set, the test fails instead. Temporary
// directories belong to the test.
package servers
