package codec

import (
	"bytes"
	"fmt"
)

// SyncEntry is one entry of a batch.
type SyncEntry struct {
	Key     Text  `json:"key"`
	Type    uint8 `json:"type"`
	Payload Hex   `json:"payload"`
}

func (e *SyncEntry) read(r *reader) {
	e.Key = r.text("key", big)
	e.Type = r.u8("type")
	e.Payload = r.payload("payload")
}

func (e *SyncEntry) write(w *writer) {
	w.text("key", e.Key, big)
	w.u8(e.Type)
	w.payload("payload", e.Payload)
}

// Accept says why an entry is skipped.
func (e *SyncEntry) Accept() Reason {
	switch e.Type {
	case TypeDelta, TypeSnapshot:
		return acceptDocumentKey(string(e.Key))
	case TypeTombstone:
		return acceptFrameKey(string(e.Key))
	default:
		return UnknownType
	}
}

// SyncBatch is the payload of a frame of type 0x07.
type SyncBatch struct {
	BatchID    Decimal     `json:"batch_id"`
	CreatedAt  Decimal     `json:"created_at"`
	TTL        uint8       `json:"ttl"`
	EntryCount uint32      `json:"entry_count"`
	Entries    []SyncEntry `json:"entries"`
	Fault      *Fault      `json:"fault"`
	Extra      Hex         `json:"extra"`
}

var entries = sequence[SyncEntry]{
	countField: "entry_count", field: "entries", leastBytes: 7,
	readOne: (*SyncEntry).read, writeOne: (*SyncEntry).write,
}

func (b *SyncBatch) read(r *reader) {
	b.BatchID = r.u64("batch_id", big)
	b.CreatedAt = r.u64("created_at", big)
	b.TTL = r.u8("ttl")
	b.EntryCount, b.Entries, b.Fault = entries.read(r)
	b.Extra = r.rest()
}

func (b *SyncBatch) write(w *writer) {
	w.u64(b.BatchID, big)
	w.u64(b.CreatedAt, big)
	w.u8(b.TTL)
	entries.write(w, b.EntryCount, b.Entries, b.Fault, b.Extra)
}

// Accept says the reason of the fault.
func (b *SyncBatch) Accept() Reason { return b.Fault.reason() }

// Fault is where the elements of a batch stop making sense.
type Fault struct {
	Reason Reason `json:"reason"`
	Offset int    `json:"offset"` // of the first byte of the element that failed
	Rest   Hex    `json:"rest"`   // every byte from there on
}

func (f *Fault) reason() Reason {
	if f == nil {
		return ""
	}
	return f.Reason
}

// sequence is how a count and its elements stand in a batch of either sort.
type sequence[T any] struct {
	countField, field string
	leastBytes        int // of one element
	readOne           func(*T, *reader)
	writeOne          func(*T, *writer)
}

// read stops at the first malformed element; this is an error only if no element precedes it.
func (s sequence[T]) read(r *reader) (count uint32, list []T, fault *Fault) {
	count = r.u32(s.countField, big)
	if uint64(count) > uint64(r.left()/s.leastBytes) {
		r.fail(CountLimit, r.at-4, s.countField)
	}
	list = []T{}
	for r.err == nil && uint64(len(list)) < uint64(count) {
		whole, start := r.data, r.at
		var one T
		if s.readOne(&one, r); r.err == nil {
			list = append(list, one)
			continue
		}
		if len(list) == 0 {
			r.err.inside(s.field + "[0]")
			break
		}
		fault = &Fault{r.err.Reason, start, whole[start:]}
		*r = reader{data: whole, at: len(whole)}
		break
	}
	return count, list, fault
}

func (s sequence[T]) write(w *writer, count uint32, list []T, fault *Fault, extra Hex) {
	start := len(w.out)
	if fault == nil && uint64(count) != uint64(len(list)) {
		w.fail(BadValue, start, s.countField)
	}
	w.u32(count, big)
	for i := range list {
		if w.err != nil {
			return
		}
		if s.writeOne(&list[i], w); w.err != nil {
			w.err.inside(fmt.Sprintf("%s[%d]", s.field, i))
		}
	}
	if fault != nil {
		w.bytes(fault.Rest)
	}
	w.bytes(extra)
	if fault == nil || w.err != nil {
		return
	}
	// A fault stands only where reading finds the same.
	r := &reader{data: w.out, at: start}
	_, again, found := s.read(r)
	switch {
	case r.err != nil:
		w.err = r.err
	case found == nil || len(again) != len(list) || len(extra) != 0 || found.Reason != fault.Reason ||
		found.Offset != fault.Offset || !bytes.Equal(found.Rest, fault.Rest):
		w.fail(BadValue, r.at, "fault")
	}
}
