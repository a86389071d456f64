package socketio

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMarks(t *testing.T) {
	for _, bad := range []string{":", "x", "x:", "x:0", "x:-1", "x:1e3", "x:18446744073709551616"} {
		assert.Error(t, checkMark(bad), "%q is accepted", bad)
	}
	for mark, good := range map[string]bool{
		strings.Repeat("u", MaxUID) + ":1": true, strings.Repeat("u", MaxUID+1) + ":1": false,
		"u:1@" + strings.Repeat("l", 1000): true, "u:1@" + strings.Repeat("l", maxMark): false,
		"u:0@link#end": true, "u:0": false,
	} {
		err := checkMark(mark)
		assert.Equal(t, good, err == nil, "%.20q of %d bytes: %v", mark, len(mark), err)
	}
}
