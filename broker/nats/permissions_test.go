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

// TestRefusalsAreForgotten: a refusal is kept until take or takeMessages returns it.
func TestRefusalsAreForgotten(t *testing.T) {
	r := newViolations()
	r.record(refusal("Subscription", `a "b"`))
	r.record(refusal("Publish", "early"))
	r.record(refusal("Publish", "early"))
	r.record(fmt.Errorf("%w: of another kind", nats.ErrPermissionViolation))
	r.record(nats.ErrMaxSubscriptionsExceeded)
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
	r.record(refusal("Publish", "late"))
	wantSubjects(t, "messages", r.takeMessages(), "late")
	assert.False(t, r.hasMessages(), "messages are left")
}
