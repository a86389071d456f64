// Package msgpack reads and writes MessagePack like Socket.IO servers do, on byte slices and without intermediate
// values where none are needed.
//
//   - Append functions write one value to the end of a slice, always in the smallest form, like notepack.io.
//   - [Reader] iterates over encoded bytes without copying them.
//   - [AppendValue] and [Decode] convert from and to Go values.
//   - [AppendJSON] and [FromJSON] convert from and to JSON text.
//
// All input is untrusted. Malformed bytes are a *[SyntaxError], never a panic. Allocations are proportional to the
// input. No input makes the stack grow beyond what [MaxDepth] levels need.
//
// # Extension types
//
// Dates and binary data have more than one form on the wires that Crossroom joins:
//
//	d7 00 …        a date, signed milliseconds; notepack.io 2 writes it, all read it
//	ext -1         a date, the standard timestamp in 4, 8 or 12 bytes; notepack.io 3
//	d4 00 …        JavaScript's undefined; notepack.io 2
//	c7 08 00 …     an ArrayBuffer; notepack.io 2 (also c8, c9). An 8-byte one differs
//	               from a date, and a 1-byte one from undefined, only in the header
//
// The package reads all of these forms. It writes dates in the form that every version reads (d7 00), binary data as
// bin, and missing values as nil.
package msgpack

// MaxDepth is the number of levels of arrays and maps that Check, Decode, AppendJSON and FromJSON accept. Reader has
// no limit, because it does not recurse.
const MaxDepth = 512

// ValueDepth is the number of levels that AppendValue writes. It is smaller than MaxDepth, so that every receiver
// accepts the whole message around the value.
const ValueDepth = MaxDepth - envelope

const envelope = 12
