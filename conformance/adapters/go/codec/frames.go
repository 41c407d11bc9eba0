package codec

import "strings"

// Limits of frames and entries.
const (
	PayloadMaxBytes     = 16 << 20
	DocumentKeyMaxBytes = 1024
	FrameKeyMaxBytes    = 1035
)

// Types of frames and entries.
const (
	TypeDelta              uint8 = 0x00
	TypeSnapshot           uint8 = 0x01
	TypeWindowedHistory    uint8 = 0x02
	TypeTombstone          uint8 = 0x04
	TypeTombstoneBatch     uint8 = 0x05
	TypeTombstoneAck       uint8 = 0x06
	TypeBatch              uint8 = 0x07
	TypeNegentropyInit     uint8 = 0x08
	TypeNegentropyResponse uint8 = 0x09
)

// StreamFrame is one frame on a sync stream.
type StreamFrame struct {
	Key     Text  `json:"key"`
	Type    uint8 `json:"type"`
	Payload Hex   `json:"payload"`
}

func (f *StreamFrame) read(r *reader) {
	f.Key = r.text("key", big)
	if f.Type = r.u8("type"); !isFrameType(f.Type) {
		r.fail(UnknownType, r.at-1, "type")
	}
	f.Payload = r.payload("payload")
}

func (f *StreamFrame) write(w *writer) {
	w.text("key", f.Key, big)
	if !isFrameType(f.Type) {
		w.fail(UnknownType, len(w.out), "type")
	}
	w.u8(f.Type)
	w.payload("payload", f.Payload)
}

// Accept holds the key to the limits of its type.
func (f *StreamFrame) Accept() Reason {
	if f.Type == TypeDelta || f.Type == TypeSnapshot {
		return acceptDocumentKey(string(f.Key))
	}
	return acceptFrameKey(string(f.Key))
}

func isFrameType(value uint8) bool {
	return value <= TypeWindowedHistory || TypeTombstone <= value && value <= TypeNegentropyResponse
}

func acceptFrameKey(key string) Reason {
	if len(key) > FrameKeyMaxBytes {
		return LengthLimit
	}
	return ""
}

// acceptDocumentKey holds a key to the grammar `collection:id`.
func acceptDocumentKey(key string) Reason {
	if key == "" || len(key) > DocumentKeyMaxBytes {
		return LengthLimit
	}
	// Without a colon the id is empty, which the grammar forbids too. The reserved keys have
	// no colon, or are of the reserved collection.
	collection, id, _ := strings.Cut(key, ":")
	if !within(collection, 1, collectionMaxBytes) || !isCollection(collection) || collection == "tombstones" ||
		!within(id, 1, documentIDMaxBytes) || hasControl(id) {
		return BadKey
	}
	return ""
}

// Limits of the two parts of a document key.
const (
	collectionMaxBytes = 128
	documentIDMaxBytes = 895
)

// within counts bytes.
func within(text string, least, most int) bool {
	return least <= len(text) && len(text) <= most
}

// isCollection tells whether text is out of the characters of a collection alone.
func isCollection(text string) bool {
	return strings.IndexFunc(text, func(c rune) bool {
		return !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.ContainsRune("_.-", c))
	}) < 0
}

func hasControl(text string) bool {
	return strings.IndexFunc(text, func(c rune) bool { return c <= 0x1F || 0x7F <= c && c <= 0x9F }) >= 0
}
