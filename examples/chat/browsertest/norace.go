//go:build !race

package browsertest

// build has Go nodes built as this package is.
var build = []string{"build"}
