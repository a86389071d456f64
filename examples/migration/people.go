package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// people are the clients, in one Node.js process.
type people struct {
	*process
	names []string
	heard map[string][]string // by recipient: "from: text"
}

// event is an event of the process.
type event struct{ What, Name, From, Text string }

func (p *people) do(deed, name string, args map[string]any) error {
	all := map[string]any{"deed": deed, "name": name}
	for k, v := range args {
		all[k] = v
	}
	line, err := json.Marshal(all)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.Input, "%s\n", line)
	return err
}

// take reads the next event, if one arrives within d.
func (p *people) take(d time.Duration) (e event, ok bool, err error) {
	select {
	case line, open := <-p.lines:
		if !open {
			return e, false, fmt.Errorf("the clients have ended: %v", p.Finish())
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return e, false, err
		}
		if e.What == "heard" {
			p.heard[e.Name] = append(p.heard[e.Name], e.From+": "+e.Text)
		}
		return e, true, nil
	case <-time.After(d):
		return e, false, nil
	}
}

// until reads events until done returns true, and then further ones as long as they come.
func (p *people) until(done func(event) bool) error {
	for {
		e, ok, err := p.take(patience)
		if err != nil {
			return err
		}
		if !ok || e.What == "disconnected" {
			return fmt.Errorf("a message is missing, or a client was disconnected: %+v", e)
		}
		if done(e) {
			break
		}
	}
	for {
		if _, ok, err := p.take(200 * time.Millisecond); err != nil || !ok {
			return err
		}
	}
}

func (p *people) connect(name string, version int, url string) error {
	if err := p.do("connect", name, map[string]any{"version": version, "url": url}); err != nil {
		return err
	}
	p.names = append(p.names, name)
	return p.until(func(e event) bool { return e.What == "welcome" && e.Name == name })
}

func (p *people) leave(name string) error {
	p.names = slices.DeleteFunc(p.names, func(n string) bool { return n == name })
	if err := p.do("leave", name, nil); err != nil {
		return err
	}
	return p.until(func(e event) bool { return e.What == "left" })
}

// others lists the people who should receive a message.
func (p *people) others(speakers ...string) []string {
	out := slices.DeleteFunc(slices.Clone(p.names), func(n string) bool { return slices.Contains(speakers, n) })
	slices.Sort(out)
	return out
}

// say makes a person say, or show, something, and returns the recipients, in words.
func (p *people) say(deed, name, text string) (string, error) {
	clear(p.heard)
	if err := p.do(deed, name, map[string]any{"text": text}); err != nil {
		return "", err
	}
	waiting := len(p.others(name))
	err := p.until(func(e event) bool {
		if e.What == "heard" {
			waiting--
		}
		return waiting == 0
	})
	var who []string
	for _, n := range p.others(name) {
		switch times := len(p.heard[n]); {
		case times == 1 && p.heard[n][0] == name+": "+text:
			who = append(who, n)
		case times > 0:
			who = append(who, fmt.Sprintf("%s (%q)", n, p.heard[n]))
		}
	}
	return list(who), err
}

// talk makes two people send many messages during happen, and returns the messages that all others received, in words.
func (p *people) talk(one, two string, count int, happen func() error) (string, error) {
	clear(p.heard)
	for _, name := range []string{one, two} {
		if err := p.do("talk", name, map[string]any{"count": count, "every": 10}); err != nil {
			return "", err
		}
	}
	began := false
	waiting := 2 * count * (len(p.names) - 1)
	err := p.until(func(e event) bool {
		if e.What != "heard" {
			return false
		}
		if waiting--; !began && e.Text == strconv.Itoa(count/4) {
			began = true
			if err := happen(); err != nil {
				fmt.Println(err)
			}
		}
		return waiting == 0
	})
	var lost, repeated, disordered int
	for _, hearer := range p.names {
		for _, from := range []string{one, two} {
			if from == hearer {
				continue
			}
			seen, last := map[int]bool{}, 0
			for _, line := range p.heard[hearer] {
				text, ok := strings.CutPrefix(line, from+": ")
				n, err := strconv.Atoi(text)
				if !ok || err != nil {
					continue
				}
				switch {
				case seen[n]:
					repeated++
				case n < last:
					disordered++
				}
				seen[n], last = true, max(n, last)
			}
			lost += count - len(seen)
		}
	}
	return fmt.Sprintf("%d messages heard by %d people: %d lost, %d repeated, %d out of order", 2*count, len(p.names), lost, repeated, disordered), err
}

// list joins names in words.
func list(names []string) string {
	switch len(names) {
	case 0:
		return "no one"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
