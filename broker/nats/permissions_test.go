package natsbroker

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
)

func refusal(of, subject string) error {
	return fmt.Errorf("%w: Permissions Violation for %s to %q", nats.ErrPermissionViolation, of, subject)
}

func wantSubjects[T any](t *testing.T, what string, got map[string]T, want ...string) {
	t.Helper()
	if subjects := slices.Sorted(maps.Keys(got)); !slices.Equal(subjects, want) {
		t.Errorf("%s: %q, want %q", what, subjects, want)
	}
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
	if over != 1 || r.unclaimed() == nil {
		t.Errorf("%d subscriptions too many, %v", over, r.unclaimed())
	}
	r.claim(over)
	if subs, over = r.take(); over != 1 || r.unclaimed() != nil {
		t.Errorf("%d subscriptions too many, %v", over, r.unclaimed())
	}
	wantSubjects(t, "subscriptions", subs)
	messages := r.takeMessages()
	wantSubjects(t, "messages", messages, "early")
	if n := messages["early"].n; n != 2 {
		t.Errorf("%d messages were refused, want 2", n)
	}
	r.note(refusal("Publish", "late"))
	wantSubjects(t, "messages", r.takeMessages(), "late")
	if r.hasMessages() {
		t.Error("some are left")
	}
}
