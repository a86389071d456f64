package serve

import "sync"

// held are the requests to which a closing namespace responds later, at most MaxWaiting and MaxWaitingBytes of them.
// Further ones get their responses at once.
type held struct {
	mu    sync.Mutex
	open  bool
	list  []func()
	bytes int // the memory of the list, counted as in a line
}

// begin enables hold.
func (h *held) begin() {
	h.mu.Lock()
	h.open = true
	h.mu.Unlock()
}

// hold keeps the response to a request of that many bytes for later. It returns false if the namespace does not close,
// or if there is no room.
func (h *held) hold(size int, answer func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	cost := size + waitingSize
	if !h.open || len(h.list) >= MaxWaiting || h.bytes+cost > MaxWaitingBytes {
		return false
	}
	h.list = append(h.list, answer)
	h.bytes += cost
	return true
}

// release sends the held responses, after a wait if there are any.
func (h *held) release(wait func()) {
	h.mu.Lock()
	any := len(h.list) > 0
	h.mu.Unlock()
	if any {
		wait()
	}
	h.mu.Lock()
	list := h.list
	h.open, h.list, h.bytes = false, nil, 0
	h.mu.Unlock()
	for _, answer := range list {
		answer()
	}
}
