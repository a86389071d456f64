// Package rooms is the registry of a server's local members and their rooms, and selects members for messages. It has
// no goroutine and knows no broker. Packages backplane and adapter share it. M is the type of the members, an
// interface.
package rooms
