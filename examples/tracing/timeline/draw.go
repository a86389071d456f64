package main

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"
)

// Sizes in the picture's own units, which are pixels at full size.
const (
	width   = 1120
	left    = 318 // where time begins
	right   = 205 // for the words behind the last bars
	top     = 96
	rowStep = 30
	barSize = 16
	bottom  = 26
	letter  = 7.3 // about the width of one at 12 px
	sans    = 6.4 // … of the other typeface
)

// colours of the picture, on light paper and on dark.
var colours = []struct{ name, light, dark string }{
	{"paper", "#ffffff", "#0d1117"}, {"edge", "#d0d7de", "#3d444d"}, {"ink", "#1f2328", "#e6edf3"}, {"soft", "#59636e", "#9198a1"},
	{"grid", "#eaeef2", "#21262d"}, {"stripe", "#f6f8fa", "#151b23"}, {"bad", "#cf222e", "#ff7b72"},
	{"c0", "#2f6fdb", "#58a6ff"}, {"c1", "#0f8a6c", "#3fbf95"}, {"c2", "#c4671b", "#e8955a"}, {"c3", "#8250df", "#bc8cff"}, {"c4", "#a40e6c", "#f778ba"},
}

// paint returns the attributes that give an element its colours: the light ones, which every viewer understands, and
// classes, by which a style sheet replaces them on dark paper.
func paint(fill, stroke string) string {
	var classes []string
	value := func(class, colour string) string {
		for _, c := range colours {
			if c.name == colour {
				classes = append(classes, class+colour)
				return c.light
			}
		}
		return "none"
	}
	attributes := `fill="` + value("f-", fill) + `"`
	if stroke != "" {
		attributes += ` stroke="` + value("s-", stroke) + `"`
	}
	return fmt.Sprintf(`class="%s" %s`, strings.Join(classes, " "), attributes)
}

// style is the style sheet for dark paper.
func style() string {
	var b strings.Builder
	b.WriteString("@media (prefers-color-scheme: dark) {\n")
	for _, c := range colours {
		fmt.Fprintf(&b, "  .f-%[1]s { fill: %[2]s; } .s-%[1]s { stroke: %[2]s; }\n", c.name, c.dark)
	}
	return b.String() + "}\n"
}

// Typefaces.
const (
	mono = `font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="12"`
	text = `font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif" font-size="12"`
	head = `font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif" font-size="17" font-weight="600"`
)

// draw writes the picture of a trace.
func draw(out io.Writer, rows []*span, depth map[*span]int) error {
	begin, end := rows[0].start, rows[0].end
	for _, s := range rows {
		if s.start.Before(begin) {
			begin = s.start
		}
		if s.end.After(end) {
			end = s.end
		}
	}
	total := max(end.Sub(begin), time.Microsecond)
	x := func(t time.Time) float64 {
		return left + float64(t.Sub(begin))/float64(total)*(width-left-right)
	}
	height := top + rowStep*len(rows) + bottom
	hue := map[string]string{}
	var services []string
	for _, s := range rows {
		if _, there := hue[s.service]; !there {
			hue[s.service] = fmt.Sprint("c", len(services)%5)
			services = append(services, s.service)
		}
	}

	var b bytes.Buffer
	title := fmt.Sprintf("%s, through %d services", rows[0].name, len(services))
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString("Timeline of a trace: "+title))
	fmt.Fprintf(&b, "<title>%s</title>\n<style>\n%s</style>\n", html.EscapeString(title), style())
	fmt.Fprintf(&b, `<rect x=".5" y=".5" width="%d" height="%d" rx="10" %s/>`+"\n", width-1, height-1, paint("paper", "edge"))
	write := func(x, y float64, face, colour, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" %s %s text-anchor="%s">%s</text>`+"\n", x, y, face, paint(colour, ""), anchor, html.EscapeString(s))
	}
	write(20, 32, head, "ink", "start", title)
	write(20, 52, text, "soft", "start", fmt.Sprintf("trace %s · %d spans · %s", rows[0].trace, len(rows), short(total)))
	at := float64(width - 20)
	for i := len(services) - 1; i >= 0; i-- {
		write(at, 32, text, "soft", "end", services[i])
		at -= float64(len(services[i]))*sans + 14
		fmt.Fprintf(&b, `<rect x="%.1f" y="22" width="12" height="12" rx="3" %s/>`+"\n", at-4, paint(hue[services[i]], ""))
		at -= 18
	}
	for i := range rows {
		if i%2 == 0 {
			fmt.Fprintf(&b, `<rect x="1" y="%d" width="%d" height="%d" %s/>`+"\n", top+i*rowStep, width-2, rowStep, paint("stripe", ""))
		}
	}
	for _, t := range ticks(total) {
		px := x(begin.Add(t))
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" %s/>`+"\n", px, px, top-8, height-bottom+6, paint("none", "grid"))
		write(px, top-14, text, "soft", "middle", short(t))
	}
	place := map[*span]int{}
	for i, s := range rows {
		place[s] = i
	}
	for i, s := range rows {
		y := float64(top + i*rowStep)
		middle := y + rowStep/2
		indent := 20 + float64(depth[s])*16
		for _, c := range s.children {
			cy := float64(top+place[c]*rowStep) + rowStep/2
			fmt.Fprintf(&b, `<path d="M%.1f %.1f V%.1f H%.1f" %s/>`+"\n", indent+4, middle+9, cy, indent+14, paint("none", "edge"))
		}
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" %s/>`+"\n", indent+4, middle, paint(hue[s.service], ""))
		write(indent+14, middle+4, mono, "ink", "start", s.name)

		from, to := x(s.start), x(s.end)
		size := max(to-from, 3)
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="3" `, from, middle-barSize/2, size, barSize)
		if s.failed != "" {
			b.WriteString(paint(hue[s.service], "bad") + ` stroke-width="2"`)
		} else {
			b.WriteString(paint(hue[s.service], ""))
		}
		fmt.Fprintf(&b, "><title>%s</title></rect>\n", html.EscapeString(strings.TrimSpace(s.service+" "+s.kind+" "+s.name+" "+short(s.end.Sub(s.start))+" "+s.failed)))
		for _, e := range s.events {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" %s stroke-width="1.2"><title>%s</title></circle>`+"\n", x(e.at), middle, paint("paper", "ink"),
				html.EscapeString(e.name+" "+e.attrs["crossroom.node"]))
		}
		words, colour := short(s.end.Sub(s.start)), "soft"
		if n := note(s); n != "" {
			words += " · " + n
		}
		if s.failed != "" {
			colour = "bad"
		}
		px, anchor := from+size+8, "start"
		if px+float64(len([]rune(words)))*letter > width-12 && from-8-float64(len([]rune(words)))*letter > left {
			px, anchor = from-8, "end"
		}
		write(px, middle+4, mono, colour, anchor, words)
	}
	b.WriteString("</svg>\n")
	_, err := out.Write(b.Bytes())
	return err
}

// note summarises the recipients of a span, and how many were reached.
func note(s *span) string {
	if s.failed != "" {
		return s.failed
	}
	if _, room, ok := strings.Cut(s.attrs["messaging.destination.name"], "#"); ok {
		if r := reached(s); r != "" {
			return room + ": " + r
		}
		return room
	}
	return reached(s)
}

func reached(s *span) string {
	several := func(n, what string) string {
		if n == "1" {
			return n + " " + what
		}
		return n + " " + what + "s"
	}
	switch n, delivered := s.attrs["crossroom.members.delivered"]; {
	case s.attrs["crossroom.outcome"] == "unwanted":
		return "no socket here"
	case delivered && s.kind == "consumer":
		return several(n, "socket")
	case delivered && n != "0":
		return several(n, "socket") + " here"
	}
	if n, ok := s.attrs["crossroom.nodes.answered"]; ok {
		return n + " of " + several(s.attrs["crossroom.nodes.expected"], "response")
	}
	return ""
}

// ticks are round times, about six of them.
func ticks(total time.Duration) (list []time.Duration) {
	raw := float64(total) / 6
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 5, 10} {
		if step*f >= raw {
			step *= f
			break
		}
	}
	for t := time.Duration(0); t <= total; t += time.Duration(step) {
		list = append(list, t)
	}
	return list
}

// short formats a duration with a readable number of digits.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%.2f", d.Seconds()*1000), "0"), ".0") + " ms"
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}
