package codec

// HeartbeatMarker is the first byte of a heartbeat.
const HeartbeatMarker uint8 = 0x01

// Heartbeat is the whole content of a unidirectional stream.
type Heartbeat struct {
	Marker uint8   `json:"marker"`
	SentAt Decimal `json:"sent_at"`
	Extra  Hex     `json:"extra"`
}

func (h *Heartbeat) read(r *reader) {
	if h.Marker = r.u8("marker"); h.Marker != HeartbeatMarker {
		r.fail(BadMarker, r.at-1, "marker")
	}
	h.SentAt = r.u64("sent_at", big)
	h.Extra = r.rest()
}

func (h *Heartbeat) write(w *writer) {
	if h.Marker != HeartbeatMarker {
		w.fail(BadMarker, 0, "marker")
	}
	w.u8(h.Marker)
	w.u64(h.SentAt, big)
	w.bytes(h.Extra)
}

// Accept has nothing to say of a heartbeat.
func (h *Heartbeat) Accept() Reason { return "" }
