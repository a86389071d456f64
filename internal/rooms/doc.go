// Package rooms is the registry of a server's own members and of the rooms they are in,
// and selects members for messages. It has no goroutine and knows no broker: packages
// backplane and adapter share it. M is the type of the members, an interface.
package rooms
