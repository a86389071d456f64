// Package control connects package memorytest with the inside of a memory broker, so that
// the type that applications hold has no methods for faults.
package control

// Faults are the faults of one broker.
type Faults interface {
	Cut(err error)
	Heal()
	Freeze()
	Thaw()
	Kill()
}

// Of returns the faults of a *memorybroker.Broker. Package memorybroker sets it.
var Of func(broker any) Faults
