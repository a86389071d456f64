package msgpack

import (
	"encoding/binary"
	"math"
	"time"
)

// Header bytes of the forms that are not "fix" forms.
const (
	codeNil      = 0xc0
	codeFalse    = 0xc2
	codeTrue     = 0xc3
	codeBin8     = 0xc4
	codeBin16    = 0xc5
	codeBin32    = 0xc6
	codeExt8     = 0xc7
	codeExt16    = 0xc8
	codeExt32    = 0xc9
	codeFloat32  = 0xca
	codeFloat64  = 0xcb
	codeUint8    = 0xcc
	codeUint16   = 0xcd
	codeUint32   = 0xce
	codeUint64   = 0xcf
	codeInt8     = 0xd0
	codeInt16    = 0xd1
	codeInt32    = 0xd2
	codeInt64    = 0xd3
	codeFixext1  = 0xd4
	codeFixext2  = 0xd5
	codeFixext4  = 0xd6
	codeFixext8  = 0xd7
	codeFixext16 = 0xd8
	codeStr8     = 0xd9
	codeStr16    = 0xda
	codeStr32    = 0xdb
	codeArray16  = 0xdc
	codeArray32  = 0xdd
	codeMap16    = 0xde
	codeMap32    = 0xdf
)

// AppendNil appends nil.
func AppendNil(dst []byte) []byte { return append(dst, codeNil) }

// AppendBool appends a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, codeTrue)
	}
	return append(dst, codeFalse)
}

// AppendInt appends an integer in its smallest form; a positive one as AppendUint does.
func AppendInt(dst []byte, v int64) []byte {
	switch {
	case v >= 0:
		return AppendUint(dst, uint64(v))
	case v >= -32:
		return append(dst, byte(v))
	case v >= math.MinInt8:
		return append(dst, codeInt8, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, codeInt16), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, codeInt32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, codeInt64), uint64(v))
}

// AppendUint appends an unsigned integer in its smallest form.
func AppendUint(dst []byte, v uint64) []byte {
	switch {
	case v < 0x80:
		return append(dst, byte(v))
	case v <= math.MaxUint8:
		return append(dst, codeUint8, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, codeUint16), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, codeUint32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, codeUint64), v)
}

// AppendFloat64 appends a float64 in its nine bytes, whatever its value.
func AppendFloat64(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, codeFloat64), math.Float64bits(v))
}

// AppendNumber appends a number as JavaScript sees it: a number without a fraction is an integer, and -0 is 0.
// Magnitudes that no 64-bit integer holds stay float64. (notepack.io would write them as the integer 0, but reads them
// correctly.)
func AppendNumber(dst []byte, v float64) []byte {
	const two63, two64 = 1 << 63, 1 << 64
	if v == math.Trunc(v) { // false for NaN
		switch {
		case v >= 0 && v < two64:
			return AppendUint(dst, uint64(v))
		case v < 0 && v >= -two63:
			return AppendInt(dst, int64(v))
		}
	}
	return AppendFloat64(dst, v)
}

// AppendString appends a string. It does not check that s is valid UTF-8; other readers may refuse invalid text.
func AppendString(dst []byte, s string) []byte {
	return append(appendStringLen(dst, len(s)), s...)
}

func appendStringLen(dst []byte, n int) []byte {
	switch {
	case n < 32:
		return append(dst, 0xa0|byte(n))
	case n <= math.MaxUint8:
		return append(dst, codeStr8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, codeStr16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, codeStr32), uint32(n))
}

// AppendBytes appends binary data.
func AppendBytes(dst, v []byte) []byte {
	n := len(v)
	switch {
	case n <= math.MaxUint8:
		dst = append(dst, codeBin8, byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, codeBin16), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, codeBin32), uint32(n))
	}
	return append(dst, v...)
}

// AppendArrayLen appends the header of an array; n values must follow.
func AppendArrayLen(dst []byte, n int) []byte {
	switch {
	case n < 16:
		return append(dst, 0x90|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, codeArray16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, codeArray32), uint32(n))
}

// AppendMapLen appends the header of a map; n keys, each with its value, must follow.
func AppendMapLen(dst []byte, n int) []byte {
	switch {
	case n < 16:
		return append(dst, 0x80|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, codeMap16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, codeMap32), uint32(n))
}

// AppendTime appends a date as extension type 0: signed milliseconds since 1970. This is the only form that every
// version of notepack.io reads. Fractions of a millisecond are dropped.
func AppendTime(dst []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(append(dst, codeFixext8, 0), uint64(t.UnixMilli()))
}
