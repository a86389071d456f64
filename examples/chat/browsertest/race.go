//go:build race

package browsertest

// build builds Go nodes in the same way as this package.
var build = []string{"build", "-race"}
