package interop_test

import "time"

// serverCases are the cases about events between servers, and broadcasts with acknowledgements.
var serverCases = []testCase{
	{"customRequest", only5, only5, nil, func(s *scene) {
		for _, data := range []any{"text", 42, nil, args{"deep": []any{1, "grün", nil}}, false} {
			want := []any{}
			for _, n := range s.servers {
				want = append(want, args{"node": n.Name(), "asked": data})
			}
			s.same("replies", s.ask("customRequest", args{"data": data}), want)
		}
	}},
	{"serverSideEmit", from7E5, from7, from7, func(s *scene) {
		for _, n := range s.servers {
			s.listen(n, "hello", false)
		}
		values := []any{1, "grün 🎉", nil, args{"list": []any{true, 0.5}}}
		s.ask("serverSideEmit", args{"event": "hello", "args": values})
		s.ask("serverSideEmit", args{"event": "no listener", "args": values})
		s.ask("serverSideEmit", args{"event": "hello", "args": []any{}})
		for _, n := range s.servers {
			if n == s.asker {
				continue // which does not get its own event
			}
			var got []any // unordered: Go nodes handle several such events at the same time
			for range 2 {
				m, err := s.listener(n, "hello").Next(s.ctx)
				if err != nil {
					s.Fatalf("%s: %v", n.Name(), err)
				}
				got = append(got, m.Args)
			}
			s.same(n.Name(), got, []any{values, []any{}})
		}
	}},
	{"serverSideEmit with ack", from7, from7, nil, func(s *scene) {
		for _, n := range s.servers {
			s.listen(n, "hello", true)
		}
		for _, values := range [][]any{{}, {1, "grün", args{"a": nil}}} {
			want := []any{}
			for _, n := range s.servers {
				if n != s.asker {
					want = append(want, args{"node": n.Name(), "got": values})
				}
			}
			s.same("answers", s.ask("serverSideEmitWithAck", args{"event": "hello", "args": values}), want)
		}
	}},
	{"emit with acks", from7, from7, nil, func(s *scene) {
		answers := []any{
			"text", 1, 0, false, nil, "", args{"key": "Value", "List": []any{1}}, []any{}, []any{1, 2}, []byte{1, 2, 3},
			args{"bin": []byte{}}, "grün 🎉",
		}
		var given []any
		for i, v := range answers {
			s.connect(s.servers[i%len(s.servers)], names[i], args{"answers": args{"question": v}}, "asked")
			given = append(given, v)
		}
		s.connect(s.far(), "other", args{"answers": args{"question": "not asked"}})
		s.same("answers", s.ask("emitWithAck", args{
			"to": []any{"asked"}, "event": "question", "args": []any{"why?", []byte{9}}, "timeout": 10000,
		}), given)
		s.expect(in("asked"), "question", "why?", []byte{9})
		s.same("no acknowledgements", s.ask("emitWithAck", args{
			"to": []any{"empty"}, "event": "question", "args": []any{}, "timeout": 10000,
		}), nil)
	}},
	{"emit with acks, some missing", from7, from7, nil, func(s *scene) {
		for _, n := range s.servers {
			s.connect(n, "answering", args{"answers": args{"question": n.Name()}})
			s.connect(n, "silent", nil)
		}
		var want []any
		for _, n := range s.servers {
			want = append(want, n.Name())
		}
		start := time.Now()
		s.same("answers", s.partial("emitWithAck", args{"event": "question", "args": []any{}, "timeout": 500}), want)
		if took := time.Since(start); took < 500*time.Millisecond {
			s.Errorf("ended after %v, before the timeout", took)
		}
		s.expect(everybody, "question")
	}},
}
