package msgpack

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field is a struct's field as it appears in the map.
type field struct {
	name      string
	index     []int
	tagged    bool
	omitEmpty bool
	omitZero  bool
	quoted    bool
	isZero    bool // has a method IsZero
}

// plans caches the fields of struct types. A plan depends only on its type.
var plans sync.Map // reflect.Type → []field

func planOf(t reflect.Type) []field {
	if p, ok := plans.Load(t); ok {
		return p.([]field)
	}
	p, _ := plans.LoadOrStore(t, fieldsOf(t))
	return p.([]field)
}

// fieldsOf returns the fields of a struct by the rules of encoding/json. Fields of embedded structs belong to it. Of
// several fields with one name the least embedded counts, among those the tagged one, and none if that is not unique.
func fieldsOf(t reflect.Type) []field {
	var found []field
	type embedded struct {
		t     reflect.Type
		index []int
	}
	visited := map[reflect.Type]bool{}
	for level := []embedded{{t: t}}; len(level) > 0; {
		var next []embedded
		count := map[reflect.Type]int{} // types on this level; duplicates cancel out
		for _, s := range level {
			count[s.t]++
		}
		for _, s := range level {
			if visited[s.t] {
				continue
			}
			visited[s.t] = true
			for i := range s.t.NumField() {
				sf := s.t.Field(i)
				index := append(slices.Clone(s.index), i)
				f, inner := fieldOf(sf, index)
				switch {
				case inner != nil:
					next = append(next, embedded{inner, index})
				case f.name != "":
					for range min(count[s.t], 2) {
						found = append(found, f)
					}
				}
			}
		}
		level = next
	}
	return dominant(found)
}

// fieldOf describes one field. inner is the struct type to search if the field only embeds it. Neither is set if the
// field does not appear.
func fieldOf(sf reflect.StructField, index []int) (f field, inner reflect.Type) {
	target := sf.Type
	if target.Kind() == reflect.Pointer {
		target = target.Elem()
	}
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return field{}, nil
	}
	name, options, _ := strings.Cut(tag, ",")
	if name == "" && sf.Anonymous && target.Kind() == reflect.Struct {
		return field{}, target // also of an unexported type: its exported fields count
	}
	if !sf.IsExported() {
		return field{}, nil
	}
	f = field{name: name, index: index, tagged: name != ""}
	if name == "" {
		f.name = sf.Name
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
			f.isZero = sf.Type.Implements(reflect.TypeFor[interface{ IsZero() bool }]())
		case "string":
			switch target.Kind() {
			case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
				reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
				reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
				f.quoted = true
			}
		}
	}
	return f, nil
}

// dominant returns, of fields with equal names, the one that counts, in order of index.
func dominant(all []field) []field {
	byName := map[string][]field{}
	for _, f := range all {
		byName[f.name] = append(byName[f.name], f)
	}
	var kept []field
	for _, same := range byName {
		depth := len(same[0].index) // levels come in order
		var first, tagged []field
		for _, f := range same {
			if len(f.index) == depth {
				first = append(first, f)
				if f.tagged {
					tagged = append(tagged, f)
				}
			}
		}
		switch {
		case len(tagged) == 1:
			kept = append(kept, tagged[0])
		case len(tagged) == 0 && len(first) == 1:
			kept = append(kept, first[0])
		}
	}
	slices.SortFunc(kept, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return kept
}

// record encodes a struct as a map.
func (e *encoder) record(v reflect.Value, depth int) error {
	if depth == MaxDepth {
		return refuse(v.Interface(), tooDeep)
	}
	fields := planOf(v.Type())
	present := make([]reflect.Value, len(fields))
	n := 0
	for i, f := range fields {
		if present[i] = f.in(v); present[i].IsValid() {
			n++
		}
	}
	e.dst = AppendMapLen(e.dst, n)
	for i, f := range fields {
		if !present[i].IsValid() {
			continue
		}
		at, err := e.key(f.name)
		if err != nil {
			return err
		}
		if err := e.member(f, present[i], depth+1); err != nil {
			return err
		}
		e.entry(f.name, at)
	}
	return nil
}

func (e *encoder) member(f field, v reflect.Value, depth int) error {
	if !f.quoted || v.Kind() == reflect.Pointer && v.IsNil() {
		return e.value(v, depth)
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return &ValueError{Type: v.Type().String(), Reason: "as a string", Err: err}
	}
	return e.string(string(text))
}

// in returns the field's value in v, or the zero Value if the field must be omitted.
func (f *field) in(v reflect.Value) reflect.Value {
	for _, i := range f.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	if f.omitEmpty && empty(v) || f.omitZero && f.zero(v) {
		return reflect.Value{}
	}
	return v
}

func (f *field) zero(v reflect.Value) bool {
	if f.isZero && !(v.Kind() == reflect.Pointer && v.IsNil()) {
		return v.Interface().(interface{ IsZero() bool }).IsZero()
	}
	return v.IsZero()
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}
