package interop_test

import "slices"

// queryCases are the cases about queries of the fleet.
var queryCases = []testCase{
	{"serverCount", all, all, nil, func(s *scene) {
		s.equal("count", s.ask("serverCount", nil), len(s.servers))
	}},
	{"allRooms", all, all, nil, func(s *scene) {
		s.populate()
		s.connect(s.far(), "more", nil, "far", "grün #*", 42)
		got, _ := s.ask("allRooms", nil).([]any)
		for i, room := range got {
			if room == any(42.0) { // a number, as JavaScript has it, or its text
				got[i] = "42"
			}
		}
		s.same("rooms", got, append(ids(s.clients), "red", "blue", "far", "grün #*", "42"))
	}},
	{"clients", only5, all, nil, func(s *scene) {
		s.populate()
		s.same("all", s.ask("clients", args{"rooms": []any{}}), ids(s.clients))
		s.same("in blue", s.ask("clients", args{"rooms": []any{"blue"}}), ids(s.where(in("blue"))))
		s.same("in red or blue", s.ask("clients", args{"rooms": []any{"blue", "red"}}), ids(s.where(in("red"))))
		s.same("in empty", s.ask("clients", args{"rooms": []any{"empty"}}), nil)
	}},
	{"clientRooms", only5, all, nil, func(s *scene) {
		s.populate()
		for _, c := range s.clients {
			s.same(c.name, s.ask("clientRooms", args{"id": c.id}), append([]any{c.id}, c.rooms...))
		}
	}},
	{"allSockets", sixSeven, all, nil, func(s *scene) {
		s.populate()
		s.same("all", s.ask("allSockets", nil), ids(s.clients))
		s.same("in blue", s.ask("allSockets", args{"to": []any{"blue"}}), ids(s.where(in("blue"))))
		s.same("in empty", s.ask("allSockets", args{"to": []any{"empty"}}), nil)
	}},
	{"fetchSockets", modern, all, nil, func(s *scene) {
		s.populate()
		check := func(what string, got any, want []*client) {
			list, _ := got.([]any)
			have, expected := []any{}, []any{}
			for _, x := range list {
				socket, _ := x.(args)
				rooms, _ := socket["rooms"].([]any)
				if s.generation == v5 { // which reports no more
					have = append(have, args{"id": socket["id"], "rooms": sorted(rooms)})
					continue
				}
				have = append(have, args{"id": socket["id"], "rooms": sorted(rooms), "data": socket["data"]})
				handshake, _ := socket["handshake"].(args)
				for _, key := range []string{"headers", "time", "address", "xdomain", "secure", "issued", "url", "query", "auth"} {
					if _, ok := handshake[key]; !ok {
						s.Errorf("%s: a handshake without %s: %v", what, key, handshake)
					}
				}
			}
			for _, c := range want {
				socket := args{"id": c.id, "rooms": sorted(append([]any{c.id}, c.rooms...))}
				if s.generation != v5 {
					socket["data"] = args{"name": c.name[len(s.nsp)+1:]}
				}
				expected = append(expected, socket)
			}
			s.same(what, have, expected)
		}
		there := s.of(s.far(), "none")
		check("all", s.ask("fetchSockets", nil), s.clients)
		check("in blue", s.ask("fetchSockets", args{"to": []any{"blue"}}), s.where(in("blue")))
		check("one", s.ask("fetchSockets", args{"to": []any{there.id}}), []*client{there})
		check("none", s.ask("fetchSockets", args{"to": []any{"empty"}}), nil)
		check("red but not blue", s.ask("fetchSockets", args{"to": []any{"red"}, "except": []any{"blue"}}),
			s.where(both(in("red"), not(in("blue")))))
	}},
	{"queries at the same time", all, all, nil, func(s *scene) {
		s.populate()
		want := sorted(append(ids(s.clients), "red", "blue"))
		results := make(chan string, 20)
		for range cap(results) {
			go func() {
				v, err := s.asker.Call(s.ctx, "allRooms", args{"nsp": s.nsp})
				if err != nil {
					results <- err.Error()
					return
				}
				list, _ := v.([]any)
				results <- sorted(slices.Clone(list))
			}()
		}
		for range cap(results) {
			if got := <-results; got != want {
				s.Errorf("got %s, want %s", got, want)
			}
		}
	}},
}
