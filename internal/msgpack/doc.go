// Package msgpack reads and writes MessagePack the way Socket.IO servers do, on
// byte slices and without intermediate values where none are needed.
//
//   - Append functions write one value to the end of a slice, always in the
//     smallest form, as notepack.io does.
//   - [Reader] walks over encoded bytes without copying them.
//   - [AppendValue] and [Decode] convert from and to Go values.
//   - [AppendJSON] and [FromJSON] convert from and to JSON text.
//
// Input is untrusted everywhere: malformed bytes are a *[SyntaxError], never a
// panic; what is allocated stays in proportion to the input; and no input makes the
// stack grow beyond what [MaxDepth] levels need.
//
// # Extension types
//
// Dates and binary data have more than one form on the wires Crossroom joins:
//
//	d7 00 …        a date, signed milliseconds; notepack.io 2 writes it, all read it
//	ext -1         a date, the standard timestamp in 4, 8 or 12 bytes; notepack.io 3
//	d4 00 …        JavaScript's undefined; notepack.io 2
//	c7 08 00 …     an ArrayBuffer; notepack.io 2 (also c8, c9). An 8-byte one differs
//	               from a date, and a 1-byte one from undefined, only in the header
//
// All are read. Written are the form of dates that every version reads (d7 00), bin
// for binary and nil for missing values.
package msgpack

// MaxDepth is how many levels of arrays and maps Check, Decode, AppendJSON and FromJSON
// accept. Reader has no limit, as it does not recurse.
const MaxDepth = 512

// ValueDepth is how many levels AppendValue writes. It leaves some to the message in
// which the value will stand, so that every receiver accepts the whole of it.
const ValueDepth = MaxDepth - envelope

const envelope = 12
