package wire

import (
	"unicode/utf8"

	"github.com/crossroom/crossroom/broker"
)

// CheckName returns why no codec and no broker can carry a name, such as that of a room. It returns the empty string
// for a good name.
func CheckName(name string) (reason string) {
	switch {
	case len(name) > broker.MaxNameLen:
		return "longer than 4096 bytes"
	case !utf8.ValidString(name):
		return "not valid UTF-8"
	}
	return ""
}
