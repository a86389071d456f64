package conformance

import (
	"strings"

	"github.com/crossroom/crossroom/broker"
)

// hostileNames are valid names that a broker may mishandle.
var hostileNames = []string{
	"", " ", "  leading and trailing  ", "#", "a#", "#a", "a#b", "##", "*", "?", "a*", "[a-z]", "[^a]", "[", "]", "\\", "\\*", "a\\",
	"{", "}", "{a}", "{user}:1", "^", "$", ">", "a.>", ".", "..", "a.b", ".a", "a.", "a..b", "*.*", "-", "_", "=", "%", "%20", "+",
	"/", "//", "/a/", "/a/b", "0", "1", "-1", "007", "1e9", "true", "null", "undefined", "NaN",
	"constructor", "__proto__", "prototype", "hasOwnProperty", "toString",
	"\t", "\n", "\r\n", "a\r\nb", "\x00", "a\x00b", "\x01\x1f\x7f", "\u0085", "\u2028", "\ufeff", "\ufffd",
	"é", "e\u0301", "ß", "İ", "ı", "Straße", "ПРИВЕТ", "привет", "日本語", "🙂", "👩‍👩‍👧", "\U0010ffff", "نص",
	"request", "response", "-request", "-response", "-control", "room#", "$SYS", "_INBOX", "__keyspace@0__:x",
	strings.Repeat("n", 255), strings.Repeat("長", 341) + "!", strings.Repeat("#*", 512),
}

// neighbours are names that a careless broker confuses.
var neighbours = []string{
	"/", "", "/a", "/A", "/a/", "/a/b", "/ab", "/a#", "/a#b", "/a#b#", "/a*", "/a?", "/a.", "/a.b", "/a b", "/[a]", "/\\a", "a", "/á",
	"/a\x00", "/a-request", "/a-response",
}

// isRefusal reports whether a channel was refused with a *NameError.
func isRefusal(err error) bool {
	var name *broker.NameError
	return asType(err, &name)
}
