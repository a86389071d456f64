package adapter

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// Redacted stands in place of a redacted value.
const Redacted = "[redacted]"

// RedactCredentials replaces the credentials in a handshake by Redacted, except those named in keep. It is the default
// of Options.Redact. Values keep their shape: texts and numbers are replaced, also inside of lists and objects.
//
// A header, a query key or a field of Auth at any depth is a credential by its name. Letters are compared without case,
// and "-", "_", "." and spaces are left out. The name contains one of
//
//	apikey, accesskey, assertion, auth, bearer, cookie, credential, csrf, jwt, passw, passphrase, privatekey, secret,
//	session, signature, token, xsrf
//
// or is one of
//
//	code, key, otp, pass, pin, pwd, secwebsocketprotocol, sid, sig, ticket, xforwardedclientcert
//
// So Cookie, Authorization, Proxy-Authorization, X-Api-Key, access_token and csrfToken are credentials. Under any name,
// a text is one that has a JSON Web Token, or that begins with Bearer or Basic. If Auth is a text or a number, all of
// it is a credential. The query of a URL, and of a header's value that is a URL, such as Referer, is treated like
// Query, and a password in it is replaced. A text of more than 16 KiB is not searched, but replaced.
//
// A list of names cannot have all of an application's own: Options.Redact can be a function that replaces more.
//
// The maps and slices of h are replaced, not changed.
func RedactCredentials(h *Handshake, keep ...string) {
	r := redactor{}
	for _, name := range keep {
		r = append(r, bare(name))
	}
	if h.Headers != nil {
		h.Headers = r.object(h.Headers)
	}
	if h.Query != nil {
		h.Query = r.object(h.Query)
	}
	h.URL = r.url(h.URL)
	if h.Auth != nil {
		h.Auth = r.auth(h.Auth)
	}
}

// redactor has the names, in bare form, that are kept.
type redactor []string

// bare is the form in which names are compared.
func bare(name string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune("-_. ", c) {
			return -1
		}
		return c
	}, strings.ToLower(name))
}

var secretWords = []string{
	"apikey", "accesskey", "assertion", "auth", "bearer", "cookie", "credential", "csrf", "jwt", "passw", "passphrase",
	"privatekey", "secret", "session", "signature", "token", "xsrf",
}

var secretNames = []string{
	"code", "key", "otp", "pass", "pin", "pwd", "secwebsocketprotocol", "sid", "sig", "ticket", "xforwardedclientcert",
}

func (r redactor) secret(name string) bool {
	name = bare(name)
	return !slices.Contains(r, name) && (slices.Contains(secretNames, name) ||
		slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) }))
}

// object returns a copy of an object without credentials.
func (r redactor) object(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for name, v := range m {
		switch {
		case slices.Contains(r, bare(name)):
			out[name] = v
		case r.secret(name):
			out[name] = each(v, func(string) string { return Redacted }, Redacted)
		default:
			out[name] = r.value(v)
		}
	}
	return out
}

// value returns a copy of a value whose name is none of a credential.
func (r redactor) value(v any) any {
	switch v := v.(type) {
	case nil, bool, float64, json.Number, int, int64:
		return v
	case string:
		return r.text(v)
	case []string:
		return each(v, r.text, nil)
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = r.value(x)
		}
		return out
	case map[string]any:
		return r.object(v)
	}
	return r.encoded(v, r.value)
}

// each returns a copy of a value with f of its texts, and with other in place of its numbers.
func each(v any, f func(string) string, other any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case string:
		return f(v)
	case []string:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = f(s)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = each(x, f, other)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = each(x, f, other)
		}
		return out
	}
	return other
}

// auth returns a copy of an authentication payload without credentials.
func (r redactor) auth(v any) any {
	return r.encoded(v, func(v any) any {
		switch v.(type) {
		case string, json.Number:
			return Redacted
		}
		return r.value(v)
	})
}

// encoded returns f of the form that v has as JSON.
func (r redactor) encoded(v any, f func(any) any) any {
	text, err := encodeJSON(v)
	if err != nil {
		return unencodable{err}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var plain any
	if err := d.Decode(&plain); err != nil {
		return unencodable{err}
	}
	return f(plain)
}

// unencodable stands for a value that cannot be encoded, so that this is reported.
type unencodable struct{ err error }

func (u unencodable) MarshalJSON() ([]byte, error) { return nil, u.err }

// text returns s if it is no credential.
func (r redactor) text(s string) string {
	lower := strings.ToLower(strings.TrimSpace(s[:min(len(s), 64)]))
	switch {
	case len(s) > maxSearched:
		return Redacted
	case strings.HasPrefix(lower, "bearer "), strings.HasPrefix(lower, "basic "), hasJWT(s):
		return Redacted
	case strings.Contains(s, "://"), strings.HasPrefix(s, "/"):
		return r.url(s)
	}
	return s
}

// maxSearched limits the texts that are searched: they come from clients, and a URL may have others in it.
const maxSearched = 16 << 10

// hasJWT reports whether a text has a JSON Web Token: the base64 of an object, and two more parts after dots.
func hasJWT(s string) bool {
	_, rest, found := strings.Cut(s, "eyJ")
	return found && strings.Count(rest, ".") >= 2
}

// url returns a URL without a password, and without credentials in its query and fragment.
func (r redactor) url(s string) string {
	if len(s) > maxSearched {
		return Redacted
	}
	scheme, rest, found := strings.Cut(s, "://")
	if found {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
			rest = Redacted + rest[at:]
		}
		s = scheme + "://" + rest
	}
	i := strings.IndexAny(s, "?#")
	if i < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for part := s[i:]; part != ""; {
		b = append(b, part[0])
		pair := part[1:]
		if end := strings.IndexAny(pair, "&;?#"); end >= 0 {
			pair = pair[:end]
		}
		part = part[1+len(pair):]
		name, value, has := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		text, errText := url.QueryUnescape(value)
		if has && (err != nil || errText != nil || r.secret(plain) || r.text(text) != text && !slices.Contains(r, bare(plain))) {
			pair = name + "=" + url.QueryEscape(Redacted)
		}
		b = append(b, pair...)
	}
	return string(b)
}
