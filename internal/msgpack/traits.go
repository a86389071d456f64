package msgpack

// Traits are properties of a value, at any depth, that Check and AppendValue detect.
type Traits uint8

const (
	// HasBinary marks binary data, an ArrayBuffer, or an extension value that JavaScript reads as type and binary
	// data, in keys too.
	HasBinary Traits = 1 << iota
	// HasTimestamp marks a date of extension type -1, which notepack.io 2 does not read as a date. See Portable.
	HasTimestamp
	// HasProto marks the key "__proto__". notepack.io assigns its value to the object: an object becomes the
	// prototype, and any other value is lost.
	HasProto
	// HasOwnProperty marks the key "hasOwnProperty", which hides the method of that name.
	HasOwnProperty
	// HasPlaceholder marks the key "_placeholder" with the value true, which represents an attachment of a packet with
	// binary data.
	HasPlaceholder
	// HasOddKey marks a key that is binary data, an extension value, an array or a map. JavaScript converts it to text
	// by its methods.
	HasOddKey
	// HasOddExt marks an extension value of type -1 that is no date. notepack.io 3 reads 12 bytes of it, whatever its
	// length.
	HasOddExt
)

// keyTraits returns the traits of a key and its value. value is the first byte of the value.
func keyTraits[T string | []byte](key T, value byte) Traits {
	switch string(key) {
	case "__proto__":
		return HasProto
	case "hasOwnProperty":
		return HasOwnProperty
	case "_placeholder":
		if value == codeTrue {
			return HasPlaceholder
		}
	}
	return 0
}

func extTraits(e Ext) Traits {
	switch _, date := e.Time(); {
	case date && e.Type == -1:
		return HasTimestamp
	case date || e.Undefined():
		return 0
	case e.Type == -1:
		return HasBinary | HasOddExt
	}
	return HasBinary
}

// isKey reports whether a key of this kind becomes the same text everywhere.
func isKey(k Kind) bool { return k == String || k == Int || k == Float || k == Bool || k == Nil }

// Binaries returns the number of values with HasBinary in b, which Check has accepted. A packet of b has that many
// attachments.
func Binaries(b []byte) (n int) {
	r := NewReader(b)
	for r.Len() > 0 {
		switch r.Kind() {
		case Bytes:
			n++
		case Extension:
			if e, err := r.Ext(); err != nil {
				return n
			} else if extTraits(e)&HasBinary != 0 {
				n++
			}
			continue
		}
		if _, err := r.skipOne(); err != nil {
			return n
		}
	}
	return n
}

// FindBinary returns the path to the value with HasBinary that has before others before it, in b, which Check has
// accepted. Without one the path is nil.
func FindBinary(b []byte, before int) (path []any) {
	r := NewReader(b)
	f := finder{r: &r, traits: HasBinary, spare: before}
	f.value()
	return f.path
}

// Find returns the path to a value with one of the traits in b, which Check has accepted. The path has indexes of
// arrays (int) and keys of maps (string), that of the value last. found is the trait, or zero.
func Find(b []byte, traits Traits) (path []any, found Traits) {
	r := NewReader(b)
	f := finder{r: &r, traits: traits}
	f.value()
	return f.path, f.found
}

type finder struct {
	r      *Reader
	traits Traits
	path   []any
	found  Traits
	spare  int // number of matches to skip
}

// value visits one value. It returns false once a trait is found.
func (f *finder) value() bool {
	start := f.r.off
	switch f.r.Kind() {
	case Array:
		n, _ := f.r.ArrayLen()
		for i := range n {
			if !f.within(i) {
				return false
			}
		}
		return true
	case Map:
		n, _ := f.r.MapLen()
		for range n {
			if !f.entry() {
				return false
			}
		}
		return true
	case Extension:
		e, _ := f.r.Ext()
		return f.pass(extTraits(e))
	case Bytes:
		_ = f.r.Skip()
		return f.pass(HasBinary)
	}
	return f.r.Skip() == nil && f.r.off > start
}

func (f *finder) entry() bool {
	if !isKey(f.r.Kind()) {
		return f.pass(HasOddKey) && f.value() && f.value()
	}
	key, err := f.r.Script()
	if err != nil || f.r.Len() == 0 {
		return false
	}
	if t := keyTraits(key, f.r.b[f.r.off]); t&f.traits != 0 {
		f.path = append(f.path, key)
		return f.pass(t)
	}
	return f.within(key)
}

// within visits the value at one more step of the path.
func (f *finder) within(step any) bool {
	f.path = append(f.path, step)
	if !f.value() {
		return false
	}
	f.path = f.path[:len(f.path)-1]
	return true
}

// pass visits a trait. It returns false if the search wants it.
func (f *finder) pass(t Traits) bool {
	switch {
	case f.found != 0 || t&f.traits == 0:
	case f.spare > 0:
		f.spare--
	default:
		f.found = t & f.traits
	}
	return f.found == 0
}
