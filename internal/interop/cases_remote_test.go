package interop_test

// remoteCases are the cases about operations on sockets of other servers.
var remoteCases = []testCase{
	{"remoteJoin by id", old, all, nil, func(s *scene) {
		s.populate()
		for _, c := range []*client{s.of(s.far(), "none"), s.of(s.asker, "none")} {
			s.ask("remoteJoin", args{"id": c.id, "room": "green"})
			s.barrier()
			c.rooms = append(c.rooms, "green")
			s.expectRooms()
		}
		s.ask("emit", args{"to": []any{"green"}, "event": "news", "args": []any{1}})
		s.expect(in("green"), "news", 1)
	}},
	{"remoteLeave by id", old, all, nil, func(s *scene) {
		s.populate()
		for _, c := range []*client{s.of(s.far(), "both"), s.of(s.asker, "both")} {
			s.ask("remoteLeave", args{"id": c.id, "room": "red"})
			s.barrier()
			c.rooms = []any{"blue"}
			s.expectRooms()
		}
		s.ask("emit", args{"to": []any{"red"}, "event": "news", "args": []any{1}})
		s.expect(in("red"), "news", 1)
	}},
	{"remoteDisconnect by id", old, all, nil, func(s *scene) {
		s.populate()
		for i, c := range []*client{s.of(s.far(), "red"), s.of(s.asker, "red"), s.of(s.far(), "both")} {
			s.ask("remoteDisconnect", args{"id": c.id, "close": i == 2})
			s.expectDisconnected(in(c.id))
		}
		s.expectNothing()
	}},
	{"socketsJoin", modernE5, all, modern, func(s *scene) {
		s.populate()
		s.ask("socketsJoin", args{"to": []any{"red"}, "except": []any{"blue"}, "rooms": []any{"green", "ro om#*"}})
		s.barrier()
		for _, c := range s.where(both(in("red"), not(in("blue")))) {
			c.rooms = append(c.rooms, "green", "ro om#*")
		}
		s.expectRooms()
		s.ask("socketsJoin", args{"rooms": []any{"all"}})
		s.barrier()
		for _, c := range s.clients {
			c.rooms = append(c.rooms, "all")
		}
		s.expectRooms()
	}},
	{"socketsLeave", modernE5, all, modern, func(s *scene) {
		s.populate()
		there := s.of(s.far(), "both")
		s.ask("socketsLeave", args{"to": []any{there.id}, "rooms": []any{"red", "empty"}})
		s.barrier()
		there.rooms = []any{"blue"}
		s.expectRooms()
		s.ask("socketsLeave", args{"except": []any{"blue"}, "rooms": []any{"red"}})
		s.barrier()
		for _, c := range s.where(not(in("blue"))) {
			c.rooms = nil
		}
		s.expectRooms()
	}},
	{"disconnectSockets", modernE5, all, modern, func(s *scene) {
		s.populate()
		s.ask("disconnectSockets", args{"to": []any{"red"}, "except": []any{"blue"}, "close": false})
		s.expectDisconnected(both(in("red"), not(in("blue"))))
		s.expectNothing()
		s.ask("disconnectSockets", args{"to": []any{"blue"}, "close": true})
		s.expectDisconnected(in("blue"))
		s.expectNothing()
	}},
}
