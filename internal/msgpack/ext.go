package msgpack

import (
	"encoding/binary"
	"time"
)

// Ext is a value of an extension type. Decode returns it for unknown types; AppendValue writes it unchanged.
type Ext struct {
	Type int8
	Data []byte

	// header byte that the value was read with. Some types of notepack.io differ only in this byte.
	header byte
}

// Time returns the date that e represents, in UTC: type 0 in its fixed 8-byte form, or the standard timestamp.
func (e Ext) Time() (t time.Time, ok bool) {
	switch {
	case e.Type == 0 && e.header == codeFixext8:
		return time.UnixMilli(int64(binary.BigEndian.Uint64(e.Data))).UTC(), true
	case e.Type != -1:
		return time.Time{}, false
	}
	var sec int64
	var nsec uint64
	switch len(e.Data) {
	case 4:
		sec = int64(binary.BigEndian.Uint32(e.Data))
	case 8:
		v := binary.BigEndian.Uint64(e.Data)
		sec, nsec = int64(v&(1<<34-1)), v>>34
	case 12:
		nsec, sec = uint64(binary.BigEndian.Uint32(e.Data)), int64(binary.BigEndian.Uint64(e.Data[4:]))
	default:
		return time.Time{}, false
	}
	if nsec > 999_999_999 {
		return time.Time{}, false
	}
	return time.Unix(sec, int64(nsec)).UTC(), true
}

// Undefined reports whether e is notepack.io's form of JavaScript's undefined.
func (e Ext) Undefined() bool { return e.Type == 0 && e.header == codeFixext1 }

// ArrayBuffer returns the bytes of the JavaScript ArrayBuffer that e represents.
func (e Ext) ArrayBuffer() (data []byte, ok bool) {
	if e.Type != 0 || e.header == codeFixext1 || e.header == codeFixext8 || e.header == 0 {
		return nil, false
	}
	return e.Data, true
}

// AppendExt appends an extension value. Lengths of 1, 2, 4, 8 and 16 bytes take the fixed form, unless e was read in
// another.
func AppendExt(dst []byte, e Ext) []byte {
	n := len(e.Data)
	fixed := e.header == 0 || e.header >= codeFixext1
	switch {
	case fixed && n == 1:
		dst = append(dst, codeFixext1)
	case fixed && n == 2:
		dst = append(dst, codeFixext2)
	case fixed && n == 4:
		dst = append(dst, codeFixext4)
	case fixed && n == 8:
		dst = append(dst, codeFixext8)
	case fixed && n == 16:
		dst = append(dst, codeFixext16)
	case n <= 0xff:
		dst = append(dst, codeExt8, byte(n))
	case n <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, codeExt16), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, codeExt32), uint32(n))
	}
	return append(append(dst, byte(e.Type)), e.Data...)
}
