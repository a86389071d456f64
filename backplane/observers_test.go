package backplane_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

// layer is one of several observers: it adds its name to the context and to the header,
// and checks that its End methods find its own State and the innermost context.
type layer struct {
	observe.Nop
	name string
	log  *noted[string]
	rude bool
}

type layersKey struct{}

func layersOf(ctx context.Context) string {
	s, _ := ctx.Value(layersKey{}).(string)
	return s
}

func (l *layer) begin(ctx context.Context, what string, state *any) context.Context {
	if *state != nil {
		l.log.add(fmt.Sprintf("%s: %s begins with the state %v", l.name, what, *state))
	}
	*state = l.name
	if l.rude {
		panic(l.name)
	}
	return context.WithValue(ctx, layersKey{}, layersOf(ctx)+l.name)
}

func (l *layer) end(ctx context.Context, what string, state any) {
	l.log.add(fmt.Sprintf("%s: %s in %s with %v", l.name, what, layersOf(ctx), state))
}

func (l *layer) PublishStart(ctx context.Context, d *observe.Publish) context.Context {
	if d.Header == nil {
		d.Header = map[string]string{}
	}
	d.Header[l.name] = "1"
	return l.begin(ctx, "publish", &d.State)
}

func (l *layer) PublishEnd(ctx context.Context, d *observe.Publish) { l.end(ctx, "publish", d.State) }

func (l *layer) DeliverStart(ctx context.Context, d *observe.Delivery) context.Context {
	return l.begin(ctx, "deliver", &d.State)
}

func (l *layer) DeliverEnd(ctx context.Context, d *observe.Delivery) { l.end(ctx, "deliver", d.State) }

func (l *layer) RequestStart(ctx context.Context, d *observe.Request) context.Context {
	return l.begin(ctx, "request", &d.State)
}

func (l *layer) RequestResponse(ctx context.Context, d *observe.Request, _ string) {
	l.end(ctx, "response", d.State)
}

func (l *layer) RequestEnd(ctx context.Context, d *observe.Request) { l.end(ctx, "request", d.State) }

func (l *layer) ServeStart(ctx context.Context, d *observe.Serve) context.Context {
	return l.begin(ctx, "serve", &d.State)
}

func (l *layer) ServeEnd(ctx context.Context, d *observe.Serve) { l.end(ctx, "serve", d.State) }

// Several observers nest. If one panics, the others are not affected.
func TestSeveralObservers(t *testing.T) {
	for _, rude := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			var log noted[string]
			var list []observe.Observer
			for _, name := range []string{"a", "b", "c"} {
				list = append(list, &layer{name: name, log: &log, rude: rude && name == "b"})
			}
			all := "abc"
			if rude {
				all = "ac"
			}
			f := newFleet(t, 2, backplane.Options{Observers: list, OnError: func(error) {}}, nil)
			s := f.socket(1, "s")
			f.broadcast(0, "x", backplane.All())
			settle()
			assert.Equal(t, "map[a:1 b:1 c:1]", fmt.Sprint((<-s.got).Header))
			_, err := f.ns[0].AllRooms(t.Context())
			assert.NoError(t, err)
			time.Sleep(time.Second)
			settle()
			var want []string
			for _, what := range []string{"publish", "deliver", "serve", "response", "request"} {
				for _, name := range []string{"a", "b", "c"} {
					want = append(want, fmt.Sprintf("%s: %s in %s with %s", name, what, all, name))
				}
			}
			assert.ElementsMatch(t, want, log.take(), "calls")
		})
	}
}
