package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/peakheap"
)

// scaling is the run of -scale: how costs grow with the fleet, as tables for docs/SCALE.md.
type scaling struct {
	*env
	out strings.Builder
	// reached are the cells of the first table.
	reached []string
}

// scale writes docs/SCALE.md anew, or prints the tables if file is empty.
func scale(ctx context.Context, e *env, file string) error {
	s := &scaling{env: e}
	bystanders := e.watchBystanders()
	for _, part := range []func(context.Context) error{
		s.fleets, s.agreement, s.rooms, s.queries, s.lists, s.million, s.namespaces, s.publishes, s.messages, s.cuts,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s %s/%s, %d cores, Redis %s; other programs used %.0f %% of the processors.\n\n## What a large fleet needs\n\n| | before | could be | reached |\n|---|---|---|---|\n%s%s",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), e.redisVersion, 100*bystanders.share(), strings.Join(s.reached, ""), s.out.String())
	fmt.Println(text)
	if file == "" {
		return nil
	}
	return writeBetween(file, "<!-- Written by: make scale UPDATE=1 -->\n", "<!-- End of what is written by make scale. -->\n", text)
}

func (s *scaling) section(title string, columns ...string) {
	fmt.Fprintf(&s.out, "\n## %s\n\n", title)
	s.row(columns...)
	s.out.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
	fmt.Println(title)
}

func (s *scaling) row(cells ...string) { s.out.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

func (s *scaling) reach(what, before, could, now string) {
	s.reached = append(s.reached, fmt.Sprintf("| %s | %s | %s | %s |\n", what, before, could, now))
}

// fleets is the growth of membership, which tests count in virtual time.
func (s *scaling) fleets(ctx context.Context) error {
	out, err := s.test(ctx, "./backplane", "^TestCostOf(MassStart|OneMore|Heartbeats)$")
	if err != nil {
		return err
	}
	start := figuresOf(`counting: (\d+) nodes at once: (\d+) deliveries`, out)
	more := figuresOf(`a node that joins (\d+) others: (\d+) deliveries`, out)
	beats := figuresOf(`counting: (\d+) nodes: heartbeats take ([\d.]+) N deliveries a second`, out)
	s.section("Membership", "nodes", "start of all at once: deliveries", "one more: deliveries", "heartbeats, deliveries a second")
	for _, n := range []int{2, 4, 8, 16, 32, 64, 128, 256} {
		square := fmt.Sprintf("%s (%.2f N²)", whole(start[n]), start[n]/float64(n*n))
		linear := fmt.Sprintf("%s (%.1f N)", whole(beats[n]*float64(n)), beats[n])
		s.row(fmt.Sprint(n), square, whole(more[n]), linear)
		switch n {
		case 64:
			s.reach("start of 64 nodes, deliveries", "94,000", "about N²", square)
			s.reach("heartbeats of 64 nodes, deliveries a second", "4,092", "N × a small constant", linear)
		case 256:
			s.reach("start of 256 nodes, deliveries", "6,000,000", "about N²", square)
			s.reach("heartbeats of 256 nodes, deliveries a second", "66,000", "N × a small constant", linear)
			s.reach("a node that joins 256 others, deliveries", "", "4,000", whole(more[n]))
		}
	}
	return nil
}

// agreement is what happens to a fleet of 64 nodes, and when all of them know it, in virtual time.
func (s *scaling) agreement(ctx context.Context) error {
	out, err := s.test(ctx, "./backplane", "^Test(DeathsInLargeFleets|StoppedNodesOfLargeFleets|PartitionOfLargeFleets|MassStartAgrees)$")
	if err != nil {
		return err
	}
	s.section("When all nodes of 64 agree", "broker", "", "all agree after", "deliveries", "heartbeats of 64 nodes in that time")
	for _, m := range regexp.MustCompile(`(counting|blind): (.*) of 64 nodes: all agree after (\S+); (\d+) deliveries, of which about (\d+)`).FindAllStringSubmatch(out, -1) {
		s.row(m[1], m[2], m[3], m[4], m[5])
	}
	for _, m := range regexp.MustCompile(`(counting|blind): (64 nodes within a second): all agree (\S+) after the last; (\d+) deliveries`).FindAllStringSubmatch(out, -1) {
		s.row(m[1], "the start of "+m[2], m[3], m[4], "0")
	}
	return nil
}

// test runs tests of a package, and returns what they log.
func (s *scaling) test(ctx context.Context, pkg, run string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", run, pkg)
	cmd.Env = append(os.Environ(), "CROSSROOM_SCALE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return string(out), nil
}

// figuresOf returns the second number of each match by the first.
func figuresOf(pattern, text string) map[int]float64 {
	found := map[int]float64{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		found[n], _ = strconv.ParseFloat(m[2], 64)
	}
	return found
}

// rooms is the growth of a broadcast with the nodes that hold its room.
func (s *scaling) rooms(ctx context.Context) error {
	const nodes, messages = 64, 100
	s.section("A broadcast to one room of a fleet of 64 nodes", "nodes that hold the room", "messages received, subscribed to rooms", "subscribed to the namespace")
	modes := []backplane.SubscriptionMode{backplane.DynamicSubscription, backplane.StaticSubscription}
	for k := 1; k <= nodes; k *= 2 {
		cells := []string{fmt.Sprint(k)}
		for _, mode := range modes {
			err := s.staged(func(st *stage) error {
				t, list, err := st.fleet(ctx, nodes, casting, onBus(), &backplane.NamespaceOptions{Subscription: mode})
				if err != nil {
					return err
				}
				for i := range k {
					if err := enter(ctx, list[i], &plain{id: fmt.Sprint("m", i)}, room); err != nil {
						return err
					}
				}
				t.reset()
				for range messages {
					if err := list[0].Broadcast(ctx, []byte(event), backplane.To(room)); err != nil {
						return err
					}
				}
				if err := pause(ctx, 100*time.Millisecond); err != nil {
					return err
				}
				cells = append(cells, fmt.Sprintf("%.2f", float64(t.delivered.Load())/messages))
				return nil
			})
			if err != nil {
				return err
			}
		}
		s.row(cells...)
	}
	return nil
}

// queries is the cost of a query for one room. Every node gets it: see docs/decisions/0030.
func (s *scaling) queries(ctx context.Context) error {
	const nodes = 64
	s.section("A query for one room of a fleet of 64 nodes", "nodes that hold the room", "messages received", "bytes received")
	return s.staged(func(st *stage) error {
		t, list, err := st.fleet(ctx, nodes, requesting, onBus(), nil)
		if err != nil {
			return err
		}
		for k := 0; k <= nodes; k = max(1, 2*k) {
			for i := range k {
				if _, here := list[i].Member(fmt.Sprint("m", i)); !here {
					if err := enter(ctx, list[i], &plain{id: fmt.Sprint("m", i)}, room); err != nil {
						return err
					}
				}
			}
			t.reset()
			m, err := list[nodes-1].Members(ctx, backplane.To(room))
			if err != nil {
				return err
			}
			if len(m.List) != k {
				return fmt.Errorf("%d members, want %d", len(m.List), k)
			}
			s.row(fmt.Sprint(k), whole(float64(t.delivered.Load())), whole(float64(t.bytes.Load())))
		}
		return nil
	})
}

// lists compares the list of a large fleet with the loop.
func (s *scaling) lists(ctx context.Context) error {
	const nodes, members = 64, 100_000
	s.section("64 nodes, 100,000 sockets of 600 bytes", "", "memory at most", "messages", "the largest")
	return s.staged(func(st *stage) error {
		t, list, err := st.fleet(ctx, nodes, requesting, onBus(), nil)
		if err != nil {
			return err
		}
		about := make([]byte, 600)
		for i := range members {
			if err := enter(ctx, list[i%nodes], &plain{fmt.Sprintf("member-%06d", i), about}, "all"); err != nil {
				return err
			}
		}
		for _, way := range []struct {
			name string
			read func() (int, error)
		}{
			{"MembersDetail (FetchSockets)", func() (int, error) {
				m, err := list[0].MembersDetail(ctx, backplane.All())
				return len(m.List), err
			}},
			{"EachMember (EachSocket)", func() (n int, err error) {
				for _, err = range list[0].EachMember(ctx, backplane.All()) {
					n++
				}
				return n, err
			}},
			{"Members (Clients)", func() (int, error) {
				m, err := list[0].Members(ctx, backplane.All())
				return len(m.List), err
			}},
			{"AllRooms", func() (int, error) {
				m, err := list[0].AllRooms(ctx)
				return len(m.List) - 1, err
			}},
			{"EachRoom", func() (n int, err error) {
				for _, err = range list[0].EachRoom(ctx) {
					n++
				}
				return n - 1, err
			}},
			{"Count", func() (int, error) {
				c, err := list[0].Count(ctx, backplane.All())
				return c.Total, err
			}},
		} {
			t.reset()
			stop := peakheap.Measure()
			n, err := way.read()
			peak := stop()
			if err != nil || n != members {
				return fmt.Errorf("%s: %d, %w", way.name, n, err)
			}
			s.row(way.name, fmt.Sprintf("%.1f MiB", float64(peak)/(1<<20)), whole(float64(t.published.Load())), whole(float64(t.largest.Load()))+" bytes")
		}
		return nil
	})
}

// million is a node with a million rooms on Redis.
func (s *scaling) million(ctx context.Context) error {
	const members, each = 10_000, 100
	s.section("1,000,000 rooms on one node, on Redis", "", "bytes a room, in the node", "in Redis", "CPU a join, µs", "joins a second", "SUBSCRIBE commands")
	for _, mode := range []backplane.SubscriptionMode{backplane.StaticSubscription, backplane.DynamicSubscription} {
		err := s.staged(func(st *stage) error {
			opts := &backplane.NamespaceOptions{Subscription: mode}
			_, list, err := st.fleet(ctx, 1, control, func() (broker.Broker, error) { return onRedis(st) }, opts)
			if err != nil {
				return err
			}
			before, used, commands, err := heap(), int64(0), int64(0), error(nil)
			if used, commands, err = s.redisUse(ctx, st); err != nil {
				return err
			}
			began, cpu := time.Now(), s.cpuTime()
			work, errs := make(chan int), make(chan error, 64)
			for range cap(errs) {
				go func() {
					var err error
					for i := range work {
						names := make([]string, each)
						for j := range names {
							names[j] = fmt.Sprintf("room-%04d-%03d", i, j)
						}
						if e := enter(ctx, list[0], &plain{id: fmt.Sprintf("m%05d", i)}, names...); e != nil {
							err = e
						}
					}
					errs <- err
				}()
			}
			for i := range members {
				work <- i
			}
			close(work)
			for range cap(errs) {
				if err := <-errs; err != nil {
					return err
				}
			}
			took, spent := time.Since(began), s.cpuTime()-cpu
			after := heap()
			usedAfter, commandsAfter, err := s.redisUse(ctx, st)
			if err != nil {
				return err
			}
			const n = members * each
			s.row([]string{"", "the namespace is subscribed to", "each room is"}[mode], whole(float64(after-before)/n), whole(float64(usedAfter-used)/n),
				number(float64(spent.Nanoseconds())/n/1e3), whole(n/took.Seconds()), whole(float64(commandsAfter-commands)))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// redisUse returns the memory of the server, and how many SUBSCRIBE commands it has carried out.
func (s *scaling) redisUse(ctx context.Context, st *stage) (used, subscribes int64, err error) {
	info, err := goredisClient(st).Info(ctx, "memory", "commandstats").Result()
	find := func(pattern string) (n int64) {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(info); m != nil {
			n, _ = strconv.ParseInt(m[1], 10, 64)
		}
		return n
	}
	return find(`(?m)^used_memory:(\d+)`), find(`(?m)^cmdstat_subscribe:calls=(\d+)`), err
}

// namespaces is the cost of many namespaces on two nodes.
func (s *scaling) namespaces(ctx context.Context) error {
	const spaces = 3000
	for _, on := range []struct {
		name, before string
		open         opener
	}{{"Redis", "671 MB", onRedis}, {"NATS", "308 MB", onNATS}} {
		err := s.staged(func(st *stage) error {
			t, list, err := st.fleet(ctx, 2, control, func() (broker.Broker, error) { return on.open(st) }, nil)
			if err != nil {
				return err
			}
			t.reset()
			for i := range spaces {
				for _, ns := range list {
					if _, err := ns.Node().Namespace(ctx, fmt.Sprint("/", i), nil); err != nil {
						return err
					}
				}
			}
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
			s.reach("opening 3,000 namespaces on 2 nodes, "+on.name+": bytes received", on.before, "1 MB", fmt.Sprintf("%.2f MB", float64(t.bytes.Load())/1e6))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// publishes is the cost of a message in the Redis server with many namespaces.
func (s *scaling) publishes(ctx context.Context) error {
	for _, row := range []struct {
		spaces int
		before string
	}{{1, "2 µs"}, {1000, "42 µs"}, {3000, "148 µs"}} {
		err := s.staged(func(st *stage) error {
			_, list, err := st.fleet(ctx, 1, control, func() (broker.Broker, error) { return onRedis(st) }, nil)
			if err != nil {
				return err
			}
			for i := range row.spaces - 1 {
				if _, err := list[0].Node().Namespace(ctx, fmt.Sprint("/", i), nil); err != nil {
					return err
				}
			}
			const messages, batch = 100_000, 1000
			client := goredisClient(st)
			before := processCPU(s.redis.Pid())
			for range messages / batch {
				pipe := client.Pipeline()
				for range batch {
					pipe.Publish(ctx, "nothing", event)
				}
				if _, err := pipe.Exec(ctx); err != nil {
					return err
				}
			}
			spent := processCPU(s.redis.Pid()) - before
			s.reach("CPU of the Redis server for a PUBLISH, namespaces of a node: "+whole(float64(row.spaces)), row.before, "2 µs", number(float64(spent.Nanoseconds())/messages/1e3)+" µs")
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// messages is the cost of a message for a room of one of 32 nodes.
func (s *scaling) messages(ctx context.Context) error {
	var none float64
	for _, c := range []struct {
		name, before, could string
		mode                backplane.SubscriptionMode
		nodes, holders      int
	}{
		{"", "", "", backplane.StaticSubscription, 0, 0},
		{"subscribed to namespaces", "164 µs", "", backplane.StaticSubscription, 32, 1},
		{"subscribed to rooms", "", "61 µs", backplane.DynamicSubscription, 32, 1},
	} {
		err := s.staged(func(st *stage) error {
			run, err := toNodes(c.mode, c.nodes, c.holders, 2000)(ctx, st)
			if err != nil {
				return err
			}
			if err := pause(ctx, 2*time.Second); err != nil { // what nodes announce at the start
				return err
			}
			before := s.cpuTime()
			n, _, err := run(ctx)
			spent := float64((s.cpuTime() - before).Nanoseconds()) / float64(n) / 1e3
			if c.nodes == 0 {
				none = spent
			} else {
				s.reach("a message at 2,000 a second to a room of one of 32 nodes, Redis, "+c.name+": CPU of everything", c.before, c.could, number(spent-none)+" µs")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

var lostOverCuts = regexp.MustCompile(`6 cuts at 2000 messages a second: (\d+) lost, go-redis alone (\d+)`)

// cuts runs the test of a subscriber whose connection is cut.
func (s *scaling) cuts(ctx context.Context) error {
	out, err := s.test(ctx, "./broker/redis", "^TestCutsOfSubscriber$")
	if err != nil {
		return err
	}
	ours, theirs, turns := 0, 0, 0
	for _, m := range lostOverCuts.FindAllStringSubmatch(out, -1) {
		a, _ := strconv.Atoi(m[1])
		b, _ := strconv.Atoi(m[2])
		ours, theirs, turns = ours+a, theirs+b, turns+1
	}
	if turns == 0 {
		return fmt.Errorf("no figures in %s", out)
	}
	s.reach("6 cuts of a subscriber at 2,000 messages a second, lost (go-redis alone)", "1,297 to 3,889 (20)", "40", fmt.Sprintf("%d (%d)", ours/turns, theirs/turns))
	return nil
}
