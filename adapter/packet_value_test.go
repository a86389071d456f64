package adapter_test

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// compressing is a socket that sends compressed frames.
type compressing struct {
	id   string
	sent func(frame []byte)
}

func (s compressing) ID() string      { return s.id }
func (s compressing) Disconnect(bool) {}

func (s compressing) Deliver(p *adapter.Packet) {
	s.sent(p.Value(func() any { return compress(p.Frames().Engine) }).([]byte))
}

var compressions atomic.Int32

func compress(b []byte) []byte {
	compressions.Add(1)
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestSpeed)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// A frame is compressed once for all sockets.
func ExamplePacket_Value() {
	ctx := context.Background()
	b := memorybroker.NewBus(nil).Broker()
	defer b.Close(ctx)
	server, err := adapter.New(b, nil)
	if err != nil {
		panic(err)
	}
	defer server.Close(ctx)
	ns, err := server.Of(ctx, "/")
	if err != nil {
		panic(err)
	}
	before := compressions.Load()
	for i := range 3 {
		if err := ns.Add(ctx, compressing{fmt.Sprint("socket", i), func(frame []byte) {
			text, _ := io.ReadAll(flate.NewReader(bytes.NewReader(frame)))
			fmt.Printf("%s\n", text)
		}}); err != nil {
			panic(err)
		}
	}
	if err := ns.Emit(ctx, "news", 1); err != nil {
		panic(err)
	}
	fmt.Println("compressed:", compressions.Load()-before)
	// Output:
	// 42["news",1]
	// 42["news",1]
	// 42["news",1]
	// compressed: 1
}

// Each broadcast has a value of its own, on each server.
func TestPacketValue(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	var made atomic.Int32
	values := make(chan any, 64)
	for i, n := range nodes {
		for j := range 3 {
			ok(t, n.ns.Add(t.Context(), valued{fmt.Sprint(i, j), &made, values}))
		}
	}
	for range 2 {
		ok(t, nodes[0].ns.Emit(t.Context(), "x"))
		counts := map[any]int{}
		for range 6 {
			counts[<-values]++
		}
		assert.Len(t, counts, 2, "one for each server")
		for v, n := range counts {
			assert.Equal(t, 3, n, "value %v", v)
		}
	}
	assert.EqualValues(t, 4, made.Load())
}

type valued struct {
	id     string
	made   *atomic.Int32
	values chan any
}

func (v valued) ID() string      { return v.id }
func (v valued) Disconnect(bool) {}

func (v valued) Deliver(p *adapter.Packet) {
	v.values <- p.Value(func() any { return v.made.Add(1) })
}
