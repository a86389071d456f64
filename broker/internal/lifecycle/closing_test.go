package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

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
		assert.Equal(t, context.Canceled, o.Do(over, again), "a later call with an ended context")
		synctest.Wait()
		assert.Empty(t, results, "a later call did not wait for the first")
		close(finish)
		for range cap(results) {
			assert.Same(t, lost, <-results)
		}
		assert.Same(t, lost, o.Do(over, again), "with an ended context, when all is done")
	})
}

func TestJoin(t *testing.T) {
	lost, late := errors.New("lost"), context.DeadlineExceeded
	because := fmt.Errorf("lost: %w", late)
	both := lifecycle.Join(lost, late)
	assert.ErrorIs(t, both, lost)
	assert.ErrorIs(t, both, late)
	for _, row := range []struct{ lost, late, want error }{
		{nil, nil, nil}, {lost, nil, lost}, {nil, late, late}, {because, late, because},
	} {
		assert.Equal(t, row.want, lifecycle.Join(row.lost, row.late), "%v and %v", row.lost, row.late)
	}
}
