package codec

import (
	"math"
	"unicode/utf8"
)

// writer puts a message together; its first error stands.
type writer struct {
	out []byte
	err *Error
}

// fail tells the offset that the field at fault would have had.
func (w *writer) fail(reason Reason, offset int, field string) {
	if w.err == nil {
		w.err = &Error{Reason: reason, Offset: offset, Field: field}
	}
}

func (w *writer) u8(value uint8)                    { w.out = append(w.out, value) }
func (w *writer) u16(value uint16, order byteOrder) { w.out = order.AppendUint16(w.out, value) }
func (w *writer) u32(value uint32, order byteOrder) { w.out = order.AppendUint32(w.out, value) }
func (w *writer) u64(value Decimal, order byteOrder) {
	w.out = order.AppendUint64(w.out, uint64(value))
}
func (w *writer) bytes(value []byte) { w.out = append(w.out, value...) }

func (w *writer) text(field string, value Text, order byteOrder) {
	switch {
	case len(value) > math.MaxUint16:
		w.fail(LengthLimit, len(w.out), field+".length")
	case !utf8.ValidString(string(value)):
		w.fail(BadUTF8, len(w.out)+2, field)
	default:
		w.u16(uint16(len(value)), order)
		w.bytes([]byte(value))
	}
}

func (w *writer) payload(field string, value Hex) {
	if len(value) > PayloadMaxBytes {
		w.fail(LengthLimit, len(w.out), field+".length")
		return
	}
	w.u32(uint32(len(value)), big)
	w.bytes(value)
}

// part writes a u32 length and what it counts, whose size has limits.
func (w *writer) part(field string, order byteOrder, least, most uint64, write func()) {
	start := len(w.out)
	w.u32(0, order)
	write()
	size := uint64(len(w.out) - start - 4)
	if size < least || size > most {
		w.fail(LengthLimit, start, field)
		return
	}
	order.PutUint32(w.out[start:], uint32(size))
}
