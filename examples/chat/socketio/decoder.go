package socketio

import "errors"

// decoder assembles packets: a text, and its attachments. It must not be used after an error.
type decoder struct {
	maxPayload, maxAttachments int

	begun       *packet // waits for attachments
	missing     int
	size        int
	attachments [][]byte
}

// text handles a text message without the Engine.IO type. The packet is nil if attachments must follow first.
func (d *decoder) text(b []byte) (*packet, error) {
	if d.begun != nil {
		return nil, errors.New("a text instead of an attachment")
	}
	if len(b) > d.maxPayload {
		return nil, errTooLarge
	}
	p, n, err := parseText(b, d.maxAttachments)
	if err != nil || n == 0 {
		return p, err
	}
	d.begun, d.missing, d.size = p, n, len(b)
	return nil, nil
}

// binary handles an attachment and keeps it. The packet is nil if more must follow.
func (d *decoder) binary(b []byte) (*packet, error) {
	if d.begun == nil {
		return nil, errors.New("an attachment without a packet")
	}
	if d.size += len(b); d.size > d.maxPayload {
		return nil, errTooLarge
	}
	d.attachments = append(d.attachments, b)
	if d.missing--; d.missing > 0 {
		return nil, nil
	}
	p := d.begun
	err := p.attach(d.attachments)
	d.begun, d.attachments = nil, nil
	if err != nil {
		return nil, err
	}
	return p, nil
}

// waiting reports whether attachments are missing.
func (d *decoder) waiting() bool { return d.begun != nil }

var errTooLarge = errors.New("packet too large")
