package wire

import (
	"errors"
	"fmt"
)

// ErrIgnored is wrapped by the errors with which a Codec says of received bytes that
// they are sound but nothing for this node to act on. The core counts such messages
// and does not report them as malformed.
var ErrIgnored = errors.New("not for this node")

// ErrForeignNamespace is the ErrIgnored of a message that came on a channel of one
// namespace and names another.
var ErrForeignNamespace = fmt.Errorf("message of another namespace: %w", ErrIgnored)

// ErrMisunderstood is the ErrIgnored of an answer without a request id: what a peer
// of another generation says when it took a question for a different one. Nobody can
// tell what it answers.
var ErrMisunderstood = fmt.Errorf("answer of a peer that misunderstood: %w", ErrIgnored)
