package natsbroker

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
)

func refusal(of, subject string) error {
	return fmt.Errorf("%w: Permissions Violation for %s to %q", nats.ErrPermissionViolation, of, subject)
}

func wantSubjects[T any](t *testing.T, what string, got map[string]T, want ...string) {
	t.Helper()
	assert.Equal(t, want, slices.Sorted(maps.Keys(got)), what)
}

// TestRefusalsAreForgotten: a refusal is kept until it is taken.
func TestRefusalsAreForgotten(t *testing.T) {
	r := newViolations()
	r.note(refusal("Subscription", `a "b"`))
	r.note(refusal("Publish", "early"))
	r.note(refusal("Publish", "early"))
	r.note(fmt.Errorf("%w: of another kind", nats.ErrPermissionViolation))
	r.note(nats.ErrMaxSubscriptionsExceeded)
	subs, over := r.take()
	wantSubjects(t, "subscriptions", subs, `a "b"`)
	assert.Equal(t, 1, over)
	assert.Error(t, r.unclaimed())
	r.claim(over)
	subs, over = r.take()
	assert.Equal(t, 1, over)
	assert.NoError(t, r.unclaimed())
	wantSubjects(t, "subscriptions", subs)
	messages := r.takeMessages()
	wantSubjects(t, "messages", messages, "early")
	assert.Equal(t, 2, messages["early"].n, "messages were refused")
	r.note(refusal("Publish", "late"))
	wantSubjects(t, "messages", r.takeMessages(), "late")
	assert.False(t, r.hasMessages(), "some are left")
}
