package adapter

import (
	"strconv"
	"testing"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// Names that were refused leave nothing behind.
func TestRefusedNamesAreForgotten(t *testing.T) {
	b := memorybroker.New(nil)
	s, err := New(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := s.Of(t.Context(), "/\xff"+strconv.Itoa(i)); err == nil {
			t.Fatal("a name that is not valid UTF-8 was taken")
		}
	}
	if _, err := s.Of(t.Context(), "/good"); err != nil {
		t.Fatal(err)
	}
	if n := len(s.namespaces); n != 1 {
		t.Errorf("%d namespaces are kept", n)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
