package codec

import "math"

const (
	deletedByMaxBytes = 1024
	reasonMaxBytes    = 1024
	directionMax      = 3
)

// Tombstone is the payload of a frame or entry of type 0x04.
type Tombstone struct {
	Collection Text    `json:"collection"`
	DocumentID Text    `json:"document_id"`
	DeletedAt  Decimal `json:"deleted_at"`
	Lamport    Decimal `json:"lamport"`
	DeletedBy  Text    `json:"deleted_by"`
	Reason     Text    `json:"reason"` // "" for none
	Direction  uint8   `json:"direction"`
	Extra      Hex     `json:"extra"`
}

func (t *Tombstone) read(r *reader) {
	t.Collection = r.text("collection", big)
	t.DocumentID = r.text("document_id", big)
	t.DeletedAt = r.u64("deleted_at", big)
	t.Lamport = r.u64("lamport", big)
	t.DeletedBy = r.text("deleted_by", big)
	t.Reason = r.text("reason", big)
	if t.Direction = r.u8("direction"); t.Direction > directionMax {
		r.fail(BadDirection, r.at-1, "direction")
	}
	t.Extra = r.rest()
}

func (t *Tombstone) write(w *writer) {
	w.text("collection", t.Collection, big)
	w.text("document_id", t.DocumentID, big)
	w.u64(t.DeletedAt, big)
	w.u64(t.Lamport, big)
	w.text("deleted_by", t.DeletedBy, big)
	w.text("reason", t.Reason, big)
	if t.Direction > directionMax {
		w.fail(BadDirection, len(w.out), "direction")
	}
	w.u8(t.Direction)
	w.bytes(t.Extra)
}

// Accept holds the texts to their limits, then collection and id to their characters.
func (t *Tombstone) Accept() Reason {
	collection, documentID := string(t.Collection), string(t.DocumentID)
	if !within(collection, 1, collectionMaxBytes) || !within(documentID, 1, documentIDMaxBytes) ||
		!within(string(t.DeletedBy), 1, deletedByMaxBytes) || !within(string(t.Reason), 0, reasonMaxBytes) {
		return LengthLimit
	}
	if !isCollection(collection) || hasControl(documentID) {
		return BadKey
	}
	return ""
}

// TombstoneBatch is the payload of a frame of type 0x05.
type TombstoneBatch struct {
	TombstoneCount uint32      `json:"tombstone_count"`
	Tombstones     []Tombstone `json:"tombstones"`
	Fault          *Fault      `json:"fault"`
	Extra          Hex         `json:"extra"`
}

// An element is a u32 length and a tombstone, whose fixed fields are 25 bytes.
var tombstones = sequence[Tombstone]{
	countField: "tombstone_count", field: "tombstones", leastBytes: 4 + 25,
	readOne: (*Tombstone).readElement, writeOne: (*Tombstone).writeElement,
}

func (t *Tombstone) readElement(r *reader) {
	r.part("", r.u32("length", big), func() { t.read(r) })
}

func (t *Tombstone) writeElement(w *writer) {
	w.part("length", big, 0, math.MaxUint32, func() { t.write(w) })
}

func (b *TombstoneBatch) read(r *reader) {
	b.TombstoneCount, b.Tombstones, b.Fault = tombstones.read(r)
	b.Extra = r.rest()
}

func (b *TombstoneBatch) write(w *writer) {
	tombstones.write(w, b.TombstoneCount, b.Tombstones, b.Fault, b.Extra)
}

// Accept says the reason of the fault.
func (b *TombstoneBatch) Accept() Reason { return b.Fault.reason() }
