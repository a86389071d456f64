package adapter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// rooted returns a namespace's name with its slash.
func rooted(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + name
}

// checkNamespace refuses the names that packets cannot carry. For a client that gets 2/a,b,["event"] the namespace is
// /a, and the rest is not JSON, which ends its connection.
func checkNamespace(name string) error {
	if strings.Contains(name, ",") {
		return wire.FromAdapter(&backplane.NameError{What: "namespace", Name: name, Reason: "has a comma, which ends the name in packets"})
	}
	return checkNames("namespace", []string{name})
}

func checkNames(what string, names []string) error {
	for _, name := range names {
		if reason := wire.CheckName(name); reason != "" {
			return wire.FromAdapter(&backplane.NameError{What: what, Name: name, Reason: reason})
		}
	}
	return nil
}

var (
	errNoNamespace = errors.New("adapter: an Operator or RemoteSocket must come from a Namespace or Emitter")
	errNoServer    = errors.New("adapter: a Server must come from New")
	errNoEmitter   = errors.New("adapter: an Emitter must come from NewEmitter")
	errEmitterAsks = fmt.Errorf("adapter: an Emitter has no sockets and gets no responses: %w", errors.ErrUnsupported)
)
