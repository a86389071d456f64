package adapter_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// TestRefuse: a server refuses operations of others, and its own still work.
func TestRefuse(t *testing.T) {
	for name, opts := range map[string]adapter.Options{
		"Refuse": {Refuse: func(ns string) backplane.Operations {
			if ns == chat {
				return backplane.AllOperations &^ backplane.Broadcasts
			}
			return 0
		}},
		"OnOperation": {OnOperation: func(op *backplane.Operation) error {
			if op.Namespace == chat && op.Kind != backplane.Broadcasts {
				return errors.New("not yours")
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := fleet(t, 2, opts)
			s := newSocket("s")
			nodes[1].addSocket(t, s)
			var partial *backplane.PartialError
			require.ErrorAs(t, nodes[0].ns.All().DisconnectSockets(t.Context(), true), &partial)
			require.ErrorAs(t, nodes[0].ns.Join(t.Context(), "s", "r"), &partial)
			_, err := nodes[0].ns.All().FetchSockets(t.Context())
			require.ErrorAs(t, err, &partial)
			require.ErrorIs(t, partial.Coverage.Missing[0].Reason, backplane.ErrRefused)
			ok(t, nodes[0].ns.Emit(t.Context(), "news"))
			assert.Equal(t, "news", s.next(t).Event())
			ok(t, nodes[1].ns.Join(t.Context(), "s", "r"))
			assert.Equal(t, uint64(3), nodes[1].Stats().Links[0].Refused)
			eventually(t, "it is reported", func() bool {
				for _, err := range nodes[1].errors.all() {
					if errors.Is(err, backplane.ErrRefused) {
						return true
					}
				}
				return false
			})
		})
	}
}
