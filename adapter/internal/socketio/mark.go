package socketio

import (
	"fmt"
	"strconv"
	"strings"
)

// A server on several links adds a relay mark to each message. All copies carry the same
// mark, and a node that receives several copies delivers one. Forms of a mark:
//
//	uid:seq            sent by uid on all its links
//	uid:seq@link#sum   received on link without a mark and passed on by uid; sum is the checksum of the original
//	uid:0@link#end     uid passes on nothing more from link; #rest: nothing for a while
//
// Foreign peers neither read nor repeat marks.

// MaxUID is the length of the longest uid in a mark, in bytes. Marks of more than maxMark
// bytes are refused.
const (
	MaxUID  = 128
	maxMark = 1024
)

// Mark returns the mark of a message that its sender sends on all its links.
func Mark(uid string, number uint64) string { return uid + ":" + strconv.FormatUint(number, 10) }

// BridgedMark returns the mark of a message that was received on a link and is passed on.
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

// CutMark splits a mark into the part that Mark returns and, if the message was passed on,
// the link's key and the note.
func CutMark(text string) (mark, link, note string, passedOn bool) {
	mark, link, passedOn = strings.Cut(text, "@")
	if i := strings.LastIndexByte(link, '#'); i >= 0 {
		link, note = link[:i], link[i+1:]
	}
	return mark, link, note, passedOn
}

// SplitMark returns the uid and the number of a mark that Mark returned.
func SplitMark(mark string) (uid string, number uint64, ok bool) {
	i := strings.LastIndexByte(mark, ':')
	if i < 0 || i > MaxUID {
		return "", 0, false
	}
	number, err := strconv.ParseUint(mark[i+1:], 10, 64)
	return mark[:i], number, err == nil
}
