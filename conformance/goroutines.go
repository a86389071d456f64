package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"reflect"
	"runtime/pprof"
	"strings"

	"github.com/crossroom/crossroom/broker"
)

// caseGoroutines uses and closes a broker. All goroutines of the case carry a label that they inherit, so goroutines
// of other cases do not count. The harness's goroutines carry the label too: only goroutines that run code of the
// broker's package count.
func caseGoroutines(ctx context.Context, e *env) error {
	a, err := e.node(ctx)
	if err != nil {
		return err
	}
	// What the other broker starts with its first messages has no label.
	for i := range usedChannels {
		if err := a.Broker.Publish(ctx, usedChannel(i), encode(nil, probe, 1, 0)); err != nil {
			return publishFailed(usedChannel(i), err)
		}
	}
	label := rand.Text()
	var b *Node
	pprof.Do(ctx, pprof.Labels(labelKey, label), func(ctx context.Context) {
		if b, err = e.node(ctx); err == nil {
			err = e.useAll(ctx, a, b)
		}
	})
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, returnLimit/2)
	defer cancel()
	return eventually(short, func() error {
		left := running(label, packageOf(b.Broker))
		if len(left) > 0 {
			return fail(21, "after Close %d of its goroutines are still running, such as\n%s", len(left), left[0])
		}
		return nil
	})
}

const labelKey = "crossroom-conformance"

// usedChannels is the number of channels of useAll.
const usedChannels = 4

func usedChannel(i int) broker.Channel { return native.Room("/goroutines", fmt.Sprint(i)) }

// useAll calls every method of b, and closes it.
func (e *env) useAll(ctx context.Context, a, b *Node) error {
	for i := range usedChannels {
		ch := usedChannel(i)
		s, err := e.subscribe(ctx, b, broker.Exactly(ch))
		if err != nil {
			return err
		}
		if err := s.add(ctx, native.EveryRoom("/goroutines")); err != nil {
			return err
		}
		for _, from := range []*Node{a, b} {
			if err := e.one(ctx, s, from, ch); err != nil {
				return err
			}
		}
		if i%2 == 0 {
			err = s.end(ctx)
		} else {
			s.leaving(s.filters())
		}
		if err != nil {
			return err
		}
	}
	defer b.Broker.OnLoss(func(broker.Loss) {})()
	if _, err := b.Broker.Subscribers(ctx, broker.Control()); unlessUnsupported(err) != nil {
		return fail(22, "Subscribers returned %s", errText(err))
	}
	if err := b.Broker.Flush(ctx); err != nil {
		return fail(17, "Flush without a fault returned %s", errText(err))
	}
	if err := b.Broker.Close(ctx); err != nil {
		return fail(21, "Close without a fault returned %s", errText(err))
	}
	return nil
}

// packageOf returns the path of the package of a broker's type, as stack traces print it.
func packageOf(b broker.Broker) string {
	t := reflect.TypeOf(b)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	path := t.PkgPath()
	last := strings.LastIndexByte(path, '/') + 1
	return path[:last] + strings.ReplaceAll(path[last:], ".", "%2e")
}

// running lists the goroutines with a label that run code of a package.
func running(label, pkg string) (list []string) {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return nil
	}
	for record := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(record, fmt.Sprintf("%q:%q", labelKey, label)) && strings.Contains(record, "\t"+pkg+".") {
			list = append(list, record)
		}
	}
	return list
}
