package interop_test

import (
	"slices"
	"strings"

	"github.com/crossroom/crossroom/internal/interop"
)

// testCase is a row of the table.
type testCase struct {
	operation string
	// node, crossroom and emitter say in which generations a Node.js process, a Go
	// node and a Go emitter can run it.
	node, crossroom, emitter []interop.Generation
	run                      func(s *scene)
}

const (
	v5        = interop.V5
	v60       = interop.V60
	v6        = interop.V6
	v70       = interop.V70
	v71       = interop.V71
	v7        = interop.V7
	v8        = interop.V8
	emitterV3 = interop.EmitterV3
	emitterV5 = interop.EmitterV5
)

// versions are all pinned versions of servers. The cases of the table use all of them.
var versions = []interop.Generation{v5, v60, v6, v70, v71, v7, v8}

// Sets of generations, by capability.
var (
	all      = []interop.Generation{v5, v6, v7, v8}
	modern   = []interop.Generation{v6, v7, v8}
	senders  = []interop.Generation{v5, v6, v7, v8, emitterV3, emitterV5}
	excepts  = []interop.Generation{v6, v7, v8, emitterV5}
	only5    = []interop.Generation{v5}
	sixSeven = []interop.Generation{v6, v7}
	from7    = []interop.Generation{v7, v8}
	old      = []interop.Generation{v5, v6, v7}
	from7E5  = []interop.Generation{v7, v8, emitterV5}
	modernE5 = []interop.Generation{v6, v7, v8, emitterV5}
)

// emittersFor returns the emitters that the servers of a generation understand completely.
var emittersFor = map[interop.Generation][]interop.Generation{v5: {emitterV3}, v8: {emitterV5}}

// cases are all rows, in the order of the table.
func cases() []testCase {
	return slices.Concat(broadcastCases, payloadCases, queryCases, remoteCases, serverCases)
}

// slug returns a name for a subtest.
func (c testCase) slug() string { return strings.ReplaceAll(c.operation, " ", "-") }
