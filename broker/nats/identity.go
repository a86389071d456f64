package natsbroker

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// identity makes the ids in the frames of one broker: one for each of its connections. The id of a
// connection is the hash of the id of the next one. Therefore each receiver can tell which of two
// ids is the later one, and no other client can make an id that is later than those it has read.
type identity struct {
	mu    sync.Mutex
	end   uint64              // the last id of the chain
	left  int                 // ids of the chain that have not been used
	used  map[uint64]struct{} // ids of the chain that have been used
	older map[uint64]struct{} // those of the chain before
}

const (
	// idsOfChain is how many connections have ids of one chain. Those after them begin another one,
	// and receivers take them for another broker's.
	idsOfChain = 4096
	// idsSkipped is how many connections a receiver may have heard nothing from, and still know
	// the next one as a later one.
	idsSkipped = 16

	idMask = 1<<56 - 1
)

// next returns the id of the next connection.
func (d *identity) next() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		var random [8]byte
		rand.Read(random[:])
		d.end, d.left = binary.BigEndian.Uint64(random[:])&idMask, idsOfChain
		d.older, d.used = d.used, map[uint64]struct{}{}
	}
	d.left--
	id := d.end
	for range d.left {
		id = idBefore(id)
	}
	d.used[id] = struct{}{}
	return id
}

// has reports whether an id is, or was, one of this broker's connections.
func (d *identity) has(id uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, used := d.used[id]
	_, older := d.older[id]
	return used || older
}

// idBefore returns the id of the connection before the one with a given id.
func idBefore(id uint64) uint64 {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("crossroom nats publisher"), id))
	return binary.BigEndian.Uint64(sum[:8]) & idMask
}

// descends reports whether id is the id of a later connection of the broker that had the other id.
func descends(id, from uint64) bool {
	for range idsSkipped {
		if id = idBefore(id); id == from {
			return true
		}
	}
	return false
}
