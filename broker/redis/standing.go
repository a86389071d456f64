package redisbroker

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// use is what a connection is for.
type use uint8

const (
	forPublishing use = iota
	forSubscribing
	forQueries // to the client's own server
	forSurveys // to other servers; the survey itself decides whether they belong to the system
)

// standing is the state that a server reports of itself. A field is empty if the server does not
// report it, because it is too old or the user lacks the permission.
type standing struct {
	version string
	mode    string // "standalone", "cluster" or "sentinel"
	role    string // "master" or "replica"
	link    string // of a replica to its master: "connected" if it is up to date
	view    *clusterView
}

// examination is a set of commands that is sent to a server when a connection has been opened, and
// then once in every ProbeInterval. PING proves that a server is alive. An examination also
// proves that it is the right server.
type examination struct {
	commands [][]string
	encoded  []byte
}

func newExamination(commands ...[]string) examination {
	e := examination{commands: commands}
	for _, c := range commands {
		e.encoded = appendCommand(e.encoded, c...)
	}
	return e
}

// examine returns the examination for a server with a known standing. HELLO needs no permission.
func (n *nodes) examine(c *conn, s standing) examination {
	switch {
	case c.use == forSurveys:
		return newExamination()
	case s.mode == "": // no HELLO: before Redis 6, or through a proxy
		return newExamination([]string{"PING"})
	}
	commands := [][]string{{"HELLO", c.protocol()}}
	switch {
	case s.mode == "cluster":
		commands = append(commands, []string{"CLUSTER", "NODES"})
	case n.replicas:
		commands = append(commands, []string{"ROLE"})
	}
	return newExamination(commands...)
}

// read evaluates the replies to an examination's commands. They have the order of the commands.
func (e *examination) read(answers []any) standing {
	var s standing
	for i, answer := range answers {
		switch e.commands[i][0] {
		case "HELLO":
			s.readHello(answer)
		case "ROLE":
			if list, _ := answer.([]any); len(list) >= 4 && list[0] == "slave" {
				s.link, _ = list[3].(string)
			}
		case "CLUSTER":
			if text, ok := answer.(string); ok {
				s.view = viewOf(parseNodes(text))
			}
		}
	}
	return s
}

// readHello evaluates the reply to HELLO: names and values in turn.
func (s *standing) readHello(answer any) {
	list, _ := answer.([]any)
	for i := 0; i+1 < len(list); i += 2 {
		switch list[i] {
		case "version":
			s.version, _ = list[i+1].(string)
		case "mode":
			s.mode, _ = list[i+1].(string)
		case "role":
			s.role, _ = list[i+1].(string)
		}
	}
}

// beforeSharded reports whether a server is too old for sharded pub/sub. One that does not know
// HELLO, and so reports no mode, is.
func (s *standing) beforeSharded() bool {
	major, _, _ := strings.Cut(s.version, ".")
	n, err := strconv.Atoi(major)
	return s.mode == "" || err == nil && n < 7
}

// judge decides whether a server may be used for a connection. It returns nil or a
// *MembershipError. A value that the server does not report is no reason to refuse it.
//
//	single server      must be the primary
//	SubscribeClient    may be a replica that is up to date
//	node of a cluster  must be a master that serves slots
//	  by *redis.Client may be any node
//
// The role must not change while a connection is open, because other brokers count subscribers
// where new connections lead. A node of a cluster must reach most of the masters that serve
// slots, and must not have moved to another cluster.
func (n *nodes) judge(c *conn, s standing) error {
	stray := func(reason string) error { return &MembershipError{Addr: c.addr, Reason: reason} }
	switch {
	case c.use == forSurveys:
		return nil
	case s.mode == "sentinel":
		return stray("it is a Sentinel (redis.NewFailoverClient connects to its master)")
	case n.sharded && s.beforeSharded():
		return stray(fmt.Sprintf("its version is %.30q, and sharded pub/sub needs Redis 7.0", cmp.Or(s.version, "before 6.0")))
	case n.sharded && s.mode == "cluster" && n.cluster == nil:
		return stray("it is a node of a cluster, which sharded pub/sub reaches by a *redis.ClusterClient only")
	case s.mode == "cluster":
		return n.judgeNode(c, s)
	case s.role == "replica" && !n.replicas:
		return stray("it is a replica: it may lack messages of other nodes, and its subscribers are not counted")
	case s.role == "replica" && s.link != "" && s.link != "connected":
		return stray(fmt.Sprintf("it is a replica, and its link to the primary is %.30q", s.link))
	case s.role != "" && c.standing.role != "" && s.role != c.standing.role:
		return stray(fmt.Sprintf("it was a %.30s and has become a %.30s", c.standing.role, s.role))
	}
	return nil
}

func (n *nodes) judgeNode(c *conn, s standing) error {
	stray := func(reason string) error { return &MembershipError{Addr: c.addr, Reason: reason} }
	own := n.cluster != nil
	if own && s.role == "replica" {
		return stray("it is a replica, whose subscribers some nodes do not count")
	}
	v := s.view
	if v == nil {
		return nil
	}
	switch {
	case v.masters == 0:
		return stray("it knows no node that serves slots: it was reset, or removed from its cluster")
	case own && !v.self.slots:
		return stray("it serves no slots: it is being removed from its cluster, or is not part of it yet")
	case !v.majority():
		return stray(fmt.Sprintf("it reaches %d of the %d masters of its cluster", v.reached, v.masters))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !v.same(n.ids) {
		return &foreignError{&MembershipError{Addr: c.addr, Reason: "it belongs to another cluster than before"}}
	}
	n.ids = v.ids
	return nil
}

// foreignError is the *MembershipError of a node that belongs to another cluster than the nodes
// before.
type foreignError struct{ *MembershipError }

func (e *foreignError) Unwrap() error { return e.MembershipError }
