package socketio

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesSocket(t *testing.T) {
	for room, is := range map[string]bool{
		"AZaz09-_AZaz09-_AZaz":       true,
		"/chat#AZaz09-_AZaz09-_AZaz": true,
		"chat#AZaz09-_AZaz09-_AZaz":  false,
		"/a#b#AZaz09-_AZaz09-_AZaz":  true,
		"AZaz09-_AZaz09-_AZa":        false,
		"AZaz09-_AZaz09-_AZazz":      false,
		"/chat#AZaz09-_AZaz09-_AZa":  false,
		"AZaz09-_AZaz09-_AZa ":       false,
		"AZaz09-_AZaz09-_AZ\u00e9":   false,
		"@Zaz09-_AZaz09-_AZaz":       false,
		"[Zaz09-_AZaz09-_AZaz":       false,
		"`Zaz09-_AZaz09-_AZaz":       false,
		"{Zaz09-_AZaz09-_AZaz":       false,
		"/Zaz09-_AZaz09-_AZaz":       false,
		":Zaz09-_AZaz09-_AZaz":       false,
		"":                           false,
		"/chat#":                     false,
	} {
		require.Equal(t, is, NamesSocket(room), "%q", room)
	}
}
