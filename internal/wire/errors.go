package wire

import (
	"errors"
	"fmt"
)

// ErrIgnored is wrapped by a Codec's errors about received bytes that are well-formed, but not for this node. The core
// counts such messages and does not report them as malformed.
var ErrIgnored = errors.New("not for this node")

// ErrForeignNamespace is the ErrIgnored of a message that came on the channel of one namespace and names another.
var ErrForeignNamespace = fmt.Errorf("message of another namespace: %w", ErrIgnored)

// ErrMisunderstood is the ErrIgnored of a response without a request id: the response of a peer of another generation
// that took the request for a different one. No request can be matched to it.
var ErrMisunderstood = fmt.Errorf("response of a peer that misread the request: %w", ErrIgnored)
