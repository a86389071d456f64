package wire

import (
	"unicode/utf8"

	"github.com/crossroom/crossroom/broker"
)

// CheckName says why no codec and no broker could carry a name, such as a room's; empty if
// they can.
func CheckName(name string) (reason string) {
	switch {
	case len(name) > broker.MaxNameLen:
		return "longer than 4096 bytes"
	case !utf8.ValidString(name):
		return "not valid UTF-8"
	}
	return ""
}
