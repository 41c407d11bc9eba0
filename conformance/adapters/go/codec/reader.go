package codec

import (
	"encoding/binary"
	"unicode/utf8"
)

// byteOrder is either order, for both directions.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

var (
	big    byteOrder = binary.BigEndian
	little byteOrder = binary.LittleEndian
)

// reader steps through a message; after its first error it gives zeros and moves no more.
type reader struct {
	data []byte // up to where the message, or the part at hand, ends
	at   int
	err  *Error
}

func (r *reader) left() int { return len(r.data) - r.at }

func (r *reader) fail(reason Reason, offset int, field string) {
	if r.err == nil {
		r.err = &Error{Reason: reason, Offset: offset, Field: field}
	}
}

// take gives the next bytes where they lie, without reserving memory for them.
func (r *reader) take(field string, size uint32) []byte {
	if uint64(size) > uint64(r.left()) {
		r.fail(Truncated, r.at, field)
	}
	if r.err != nil {
		return nil
	}
	start := r.at
	r.at += int(size)
	return r.data[start:r.at:r.at]
}

func (r *reader) u8(field string) uint8 {
	if b := r.take(field, 1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16(field string, order byteOrder) uint16 {
	if b := r.take(field, 2); b != nil {
		return order.Uint16(b)
	}
	return 0
}

func (r *reader) u32(field string, order byteOrder) uint32 {
	if b := r.take(field, 4); b != nil {
		return order.Uint32(b)
	}
	return 0
}

func (r *reader) u64(field string, order byteOrder) Decimal {
	if b := r.take(field, 8); b != nil {
		return Decimal(order.Uint64(b))
	}
	return 0
}

// text reads a u16 length and that many bytes of strict UTF-8.
func (r *reader) text(field string, order byteOrder) Text {
	length := r.u16(field+".length", order)
	content := r.take(field, uint32(length))
	if !utf8.Valid(content) {
		r.fail(BadUTF8, r.at-len(content), field)
	}
	return Text(content)
}

// payload reads a u32 length up to the payload cap and that many bytes.
func (r *reader) payload(field string) Hex {
	length := r.u32(field+".length", big)
	if length > PayloadMaxBytes {
		r.fail(LengthLimit, r.at-4, field+".length")
	}
	return r.take(field, length)
}

func (r *reader) bytes32(field string) (value Bytes32) {
	copy(value[:], r.take(field, 32))
	return value
}

// rest takes everything that is left.
func (r *reader) rest() Hex {
	start := r.at
	if r.err == nil {
		r.at = len(r.data)
	}
	return r.data[start:r.at:r.at]
}

// part reads the next size bytes as if they were all; field names them where fewer are left.
func (r *reader) part(field string, size uint32, read func()) {
	whole, start := r.data, r.at
	if r.take(field, size); r.err != nil {
		return
	}
	r.data, r.at = whole[:r.at], start
	read()
	r.data = whole
}

// end refuses whatever is left.
func (r *reader) end() {
	if r.left() > 0 {
		r.fail(TrailingBytes, r.at, "")
	}
}
