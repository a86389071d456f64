package rooms

import (
	"cmp"
	"slices"
)

// A page is the part of a list, in the order of names, that follows a name. Between two pages nothing is kept: the next
// one begins after the last name of this one. An element that is there all the time is on exactly one page.

// page collects the first most elements whose names are after a name.
type page[E any] struct {
	after string
	most  int
	name  func(E) string

	list  []E
	bound string // none of the page is after it, once cut is set
	cut   bool   // more than most elements are after the name
}

func (p *page[E]) add(e E) {
	name := p.name(e)
	if name <= p.after || p.cut && name > p.bound {
		return
	}
	if p.list = append(p.list, e); len(p.list) == 2*p.most {
		p.trim()
	}
}

// trim sorts the elements and keeps the first ones.
func (p *page[E]) trim() {
	slices.SortFunc(p.list, func(a, b E) int { return cmp.Compare(p.name(a), p.name(b)) })
	if len(p.list) > p.most {
		clear(p.list[p.most:])
		p.list, p.cut = p.list[:p.most], true
		p.bound = p.name(p.list[p.most-1])
	}
}

// FindPage fills s.List with the first most members, by id, that f selects and whose ids are after the id after. rest
// reports that there are more. With detail it returns the rooms of each.
func (s *Selection[M]) FindPage(r *Registry[M], f Filter, after string, most int, detail bool) (names [][]string, rest bool) {
	s.Find(r, f)
	p := page[*Entry[M]]{after: after, most: most, name: (*Entry[M]).ID}
	for _, e := range s.List {
		p.add(e)
	}
	p.trim()
	s.List = p.list
	if !detail {
		return nil, p.cut
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	names = make([][]string, len(s.List))
	for i, e := range s.List {
		names[i] = e.names()
	}
	return names, p.cut
}

// NamesPage returns the first most names, sorted, of those that Names returns, after the name after. rest reports that
// there are more.
func (r *Registry[M]) NamesPage(after string, most int) (names []string, rest bool) {
	p := page[string]{after: after, most: most, name: func(s string) string { return s }}
	r.mu.RLock()
	r.eachName(p.add)
	r.mu.RUnlock()
	p.trim()
	return p.list, p.cut
}
