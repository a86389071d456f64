package adapter

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// Refused names use no memory.
func TestRefusedNamesAreForgotten(t *testing.T) {
	b := memorybroker.New(nil)
	s, err := New(b, nil)
	require.NoError(t, err)
	for i := range 10 {
		_, err := s.Of(t.Context(), "/\xff"+strconv.Itoa(i))
		require.Error(t, err, "a name that is not valid UTF-8 was taken")
	}
	_, err = s.Of(t.Context(), "/good")
	require.NoError(t, err)
	assert.Equal(t, 1, len(s.namespaces), "namespaces are kept")
	require.NoError(t, s.Close(t.Context()))
	require.NoError(t, b.Close(t.Context()))
}

func TestHasJWT(t *testing.T) {
	for text, has := range map[string]bool{
		"eyJa.eyJb.c": true, "x eyJa.b.c y": true, "eyJa.b.c.d.e": true, "eyJa..": true,
		"eyJa.b": false, "eyJ": false, "a.b.c": false, "a.b.eyJ.c": false, "": false,
	} {
		require.Equal(t, has, hasJWT(text), text)
	}
}
