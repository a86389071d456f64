package msgpack

import "fmt"

// SyntaxError reports where and why bytes could not be read.
type SyntaxError struct {
	// Offset is the position of the faulty value in the input, in bytes.
	Offset int
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("msgpack: %s at offset %d", e.Reason, e.Offset)
}

// ValueError reports why a Go value cannot be encoded.
type ValueError struct {
	// Type is the type of the faulty value, as %T prints it.
	Type   string
	Reason string
	// Err is the error of the value's own marshaling method, or nil.
	Err error
}

func (e *ValueError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("msgpack: cannot encode %s: %s: %v", e.Type, e.Reason, e.Err)
	}
	return fmt.Sprintf("msgpack: cannot encode %s: %s", e.Type, e.Reason)
}

func (e *ValueError) Unwrap() error { return e.Err }
