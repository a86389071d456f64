package interop_test

import "github.com/crossroom/crossroom/internal/interop"

// broadcastCases are the cases about the receivers of a broadcast.
var broadcastCases = []testCase{
	{"emit to everybody", senders, all, all, func(s *scene) {
		s.populate()
		for _, n := range s.servers {
			s.connect(n, "polling", args{"polling": true}) // the other clients have WebSockets
		}
		s.ask("emit", args{"event": "news", "args": []any{1, "two"}})
		s.expect(everybody, "news", 1, "two")
	}},
	{"emit to one room", senders, all, all, func(s *scene) {
		s.populate()
		s.ask("emit", args{"to": []any{"blue"}, "event": "news", "args": []any{1}})
		s.expect(in("blue"), "news", 1)
	}},
	{"emit to several rooms", senders, all, all, func(s *scene) {
		s.populate()
		s.ask("emit", args{"to": []any{"red", "blue", "empty"}, "event": "news", "args": []any{}})
		s.expect(in("red"), "news")
	}},
	{"emit to a socket by its id", senders, all, all, func(s *scene) {
		s.populate()
		there := s.of(s.far(), "none")
		s.ask("emit", args{"to": []any{there.id}, "event": "news", "args": []any{1}})
		s.expect(in(there.id), "news", 1)
	}},
	{"emit to everybody except a room", excepts, all, modern, func(s *scene) {
		s.populate()
		s.ask("emit", args{"except": []any{"blue"}, "event": "news", "args": []any{1}})
		s.expect(not(in("blue")), "news", 1)
	}},
	{"emit to a room except ids", excepts, all, all, func(s *scene) {
		s.populate()
		there := s.of(s.far(), "red")
		s.ask("emit", args{"to": []any{"red"}, "except": []any{there.id, "nobody_here_at_all_0"}, "event": "news", "args": []any{1}})
		s.expect(both(in("red"), not(in(there.id))), "news", 1)
	}},
	{"emit to a room except rooms and ids", excepts, all, modern, func(s *scene) {
		s.populate()
		for _, n := range s.servers {
			s.connect(n, "red too", nil, "red")
		}
		there := s.of(s.far(), "red")
		s.ask("emit", args{"to": []any{"red"}, "except": []any{"blue", there.id}, "event": "news", "args": []any{1}})
		s.expect(both(in("red"), not(in("blue", there.id))), "news", 1)
	}},
	{"emit to a numeric room", senders, all, all, func(s *scene) {
		s.populate()
		far := s.connect(s.far(), "number", nil, 42)
		// A second room, because socket.io-redis 6 loses broadcasts to a single one.
		s.ask("emit", args{"to": []any{42, "empty"}, "event": "news", "args": []any{1}})
		s.expect(in(far.id), "news", 1)
		if _, ok := s.asker.(*interop.Peer); !ok { // Go nodes reach a room of any name
			text := s.connect(s.far(), "text", nil, "42")
			s.ask("emit", args{"to": []any{42}, "event": "news", "args": []any{2}})
			s.expect(in(far.id, text.id), "news", 2)
		}
	}},
	{"emit from a socket", all, all, nil, func(s *scene) {
		s.populate()
		from := s.of(s.asker, "red")
		s.ask("emit", args{"from": from.name, "event": "news", "args": []any{1}})
		s.expect(not(in(from.id)), "news", 1)
	}},
	{"emit from a socket to rooms", all, all, nil, func(s *scene) {
		s.populate()
		from := s.of(s.asker, "red")
		s.ask("emit", args{"from": from.name, "to": []any{"red"}, "event": "one", "args": []any{1}})
		s.expect(both(in("red"), not(in(from.id))), "one", 1)
		s.ask("emit", args{"from": from.name, "to": []any{"red", "blue"}, "event": "two", "args": []any{1}})
		s.expect(both(in("red", "blue"), not(in(from.id))), "two", 1)
	}},
	{"emit volatile", senders, all, all, func(s *scene) {
		s.populate()
		// The marker goes first: a volatile message is lost while another one is being written.
		s.expectNothing()
		s.ask("emit", args{"to": []any{"blue"}, "flags": []any{"volatile"}, "event": "news", "args": []any{1}})
		s.expectHints(in("blue"), true, true)
	}},
	{"emit without compression", without(senders, emitterV3), all, all, func(s *scene) {
		s.populate()
		s.ask("emit", args{"flags": []any{"nocompress"}, "event": "news", "args": []any{1}})
		s.expectHints(everybody, false, false)
	}},
	{"emit locally", all, all, nil, func(s *scene) {
		s.populate()
		s.ask("emit", args{"to": []any{"red"}, "flags": []any{"local"}, "event": "news", "args": []any{1}})
		s.expect(both(in("red"), func(c *client) bool { return c.node == s.asker }), "news", 1)
	}},
	{"emit to rooms with hostile names", senders, all, all, func(s *scene) {
		for i, room := range hostileRooms {
			a, b := s.connect(s.far(), names[i], nil, room), s.connect(s.servers[0], names[i]+"'", nil, room)
			s.ask("emit", args{"to": []any{room}, "event": "one", "args": []any{room}})
			s.expect(in(room), "one", room)
			s.ask("emit", args{"to": []any{room, "empty"}, "event": "two", "args": []any{room}})
			s.expect(in(room), "two", room)
			for _, c := range []*client{a, b} {
				s.do(c.node, "close", args{"name": c.name})
				s.leave(c)
			}
		}
	}},
	{"emit in order", senders, all, all, func(s *scene) {
		s.populate()
		const n = 200
		for i := range n {
			s.ask("emit", args{"to": []any{"red"}, "event": "step", "args": []any{i}})
		}
		for c, got := range s.gather(func(c *client, got int) bool { return got >= n || !c.in("red") }) {
			want := 0
			if c.in("red") {
				want = n
			}
			if len(got) != want {
				s.Errorf("%s got %d messages, want %d", c.name, len(got), want)
				continue
			}
			for i, m := range got {
				if interop.Text(m.Args) != interop.Text([]any{i}) {
					s.Fatalf("%s: message %d is %v", c.name, i, m)
				}
			}
		}
	}},
}
