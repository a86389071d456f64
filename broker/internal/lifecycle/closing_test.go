package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := lifecycle.NewOnce()
		lost := errors.New("lost")
		finish := make(chan struct{})
		results := make(chan error, 2)
		go func() {
			results <- o.Do(t.Context(), func(context.Context) error { <-finish; return lost })
		}()
		synctest.Wait()
		again := func(context.Context) error { t.Error("done twice"); return nil }
		go func() { results <- o.Do(t.Context(), again) }()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := o.Do(over, again); err != context.Canceled {
			t.Errorf("a later call with an ended context: %v", err)
		}
		synctest.Wait()
		if len(results) > 0 {
			t.Error("a later call did not wait for the first")
		}
		close(finish)
		for range cap(results) {
			if err := <-results; err != lost {
				t.Errorf("%v, want what the first call found", err)
			}
		}
		if err := o.Do(over, again); err != lost {
			t.Errorf("with an ended context, when all is done: %v", err)
		}
	})
}

func TestJoin(t *testing.T) {
	lost, late := errors.New("lost"), context.DeadlineExceeded
	because := fmt.Errorf("lost: %w", late)
	both := lifecycle.Join(lost, late)
	if !errors.Is(both, lost) || !errors.Is(both, late) {
		t.Errorf("both: %v", both)
	}
	for _, row := range []struct{ lost, late, want error }{
		{nil, nil, nil}, {lost, nil, lost}, {nil, late, late}, {because, late, because},
	} {
		if got := lifecycle.Join(row.lost, row.late); got != row.want {
			t.Errorf("%v and %v: %v, want %v", row.lost, row.late, got, row.want)
		}
	}
}
