package hub

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// admit takes a place for a connection and authenticates its client. If it returns false, it has written a response.
func (h *Hub) admit(w http.ResponseWriter, r *http.Request) (who *Identity, ok bool) {
	refuse := func(e *StatusError) (*Identity, bool) {
		h.count(func(s *Stats) { s.Refused[e.Status]++ })
		if e.Status == http.StatusServiceUnavailable {
			// At random, so that clients do not come back all at once.
			w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5)))
		}
		e.write(w)
		return nil, false
	}
	if !h.allowed(r) {
		return refuse(&StatusError{http.StatusForbidden, "pages of this origin may not connect"})
	}
	if e := h.reserve(); e != nil {
		return refuse(e)
	}
	who = &Identity{}
	if h.opts.Authenticate != nil {
		err := h.guard("Authenticate", "", func() (err error) {
			*who, err = h.opts.Authenticate(r)
			return err
		})
		if err != nil {
			h.enter(nil)
			return refuse(h.refusal(err))
		}
	}
	if e := who.checkNames(); e != nil {
		h.enter(nil)
		return refuse(e)
	}
	return who, true
}

// refusal returns what the client gets to know of an error of the host.
func (h *Hub) refusal(err error) *StatusError {
	var e *StatusError
	if errors.As(err, &e) {
		return e
	}
	h.reports.report("refusal", err)
	return &StatusError{http.StatusInternalServerError, "internal error"}
}

// allowed checks the origin of the page that makes the request. Browsers send it with every WebSocket handshake, and
// with an event stream of another origin; Sec-Fetch-Site also shows requests of images and the like.
func (h *Hub) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return r.Header.Get("Sec-Fetch-Site") != "cross-site" || h.anyOrigin()
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" { // "null" has no host: a sandboxed page, a file
		return h.anyOrigin()
	}
	host := strings.ToLower(u.Host)
	if host == strings.ToLower(r.Host) {
		return true
	}
	for _, pattern := range h.opts.Origins {
		if pattern == "*" {
			return true
		}
		if ok, _ := path.Match(strings.ToLower(pattern), host); ok {
			return true
		}
	}
	return false
}

func (h *Hub) anyOrigin() bool {
	for _, pattern := range h.opts.Origins {
		if pattern == "*" {
			return true
		}
	}
	return false
}

// retry returns the time after which a client should reconnect.
func (h *Hub) retry() time.Duration {
	return time.Duration((0.5 + rand.Float64()) * float64(h.opts.Retry))
}
