package socketio

import (
	"fmt"
	"strconv"
	"strings"
)

// A server on several links gives what it sends a relay mark, which all copies
// carry, so that nodes which get several of them deliver one. Its forms:
//
//	uid:seq            sent by uid on all its links
//	uid:seq@link#sum   heard on link (without a mark) and passed on by uid; sum is of the original
//	uid:0@link#end     uid passes on nothing more from link; #rest: nothing for a while
//
// Servers other than Crossroom's neither see nor repeat it.

// MaxUID is the longest uid in a mark. Longer marks than maxMark are not read either.
const (
	MaxUID  = 128
	maxMark = 1024
)

// Mark returns the mark of a message that its sender sends on all its links.
func Mark(uid string, number uint64) string { return uid + ":" + strconv.FormatUint(number, 10) }

// BridgedMark returns the mark of a message that was heard on a link and is passed on.
func BridgedMark(uid string, number uint64, link, note string) string {
	return Mark(uid, number) + "@" + link + "#" + note
}

// checkMark refuses a mark that no Crossroom node writes.
func checkMark(text string) error {
	number, _, passedOn := strings.Cut(text, "@")
	if _, seq, ok := SplitMark(number); len(text) > maxMark || !ok || seq == 0 && !passedOn {
		return fmt.Errorf("unreadable relay mark of %d bytes", len(text))
	}
	return nil
}

// CutMark splits a mark into what Mark returns and, if it was passed on, the link's key and
// the note.
func CutMark(text string) (mark, link, note string, passedOn bool) {
	mark, link, passedOn = strings.Cut(text, "@")
	if i := strings.LastIndexByte(link, '#'); i >= 0 {
		link, note = link[:i], link[i+1:]
	}
	return mark, link, note, passedOn
}

// SplitMark returns the uid and the number of what Mark returns.
func SplitMark(mark string) (uid string, number uint64, ok bool) {
	i := strings.LastIndexByte(mark, ':')
	if i < 0 || i > MaxUID {
		return "", 0, false
	}
	number, err := strconv.ParseUint(mark[i+1:], 10, 64)
	return mark[:i], number, err == nil
}
