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

func wantSubjects(t *testing.T, what string, got map[string]error, want ...string) {
	t.Helper()
	if subjects := slices.Sorted(maps.Keys(got)); !slices.Equal(subjects, want) {
		t.Errorf("%s: %q, want %q", what, subjects, want)
	}
}

// TestRefusalsAreForgotten: a refusal is there for as long as it may concern anybody, and
// no longer.
func TestRefusalsAreForgotten(t *testing.T) {
	r := newRefusals()
	r.note(refusal("Subscription", `a "b"`))
	r.note(refusal("Publish", "early"))
	r.note(fmt.Errorf("%w: of another kind", nats.ErrPermissionViolation))
	r.note(fmt.Errorf("another error"))
	wantSubjects(t, "subscriptions", r.takeSubs(), `a "b"`)
	wantSubjects(t, "subscriptions", r.takeSubs())
	wantSubjects(t, "at the first answer", r.ofMessages(), "early")
	// Perhaps it was about a message that was published behind the ping.
	r.note(refusal("Publish", "late"))
	wantSubjects(t, "at the second", r.ofMessages(), "early", "late")
	wantSubjects(t, "at the third", r.ofMessages(), "late")
	wantSubjects(t, "at the fourth", r.ofMessages())
}
