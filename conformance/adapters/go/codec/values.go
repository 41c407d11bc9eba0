package codec

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text is strict UTF-8, in JSON a string.
type Text string

// UnmarshalJSON refuses what encoding/json would replace: stray surrogates and bytes that are not UTF-8.
func (t *Text) UnmarshalJSON(literal []byte) error {
	if !utf8.Valid(literal) || hasStraySurrogate(literal) {
		return errors.New("not UTF-8")
	}
	return json.Unmarshal(literal, (*string)(t))
}

// hasStraySurrogate looks at the escapes of a JSON string whose syntax is known to be sound.
func hasStraySurrogate(literal []byte) bool {
	unit := func(i int) rune {
		if i+6 > len(literal) || literal[i] != '\\' || literal[i+1] != 'u' {
			return 0
		}
		value, _ := strconv.ParseUint(string(literal[i+2:i+6]), 16, 16)
		return rune(value)
	}
	for i := 0; i < len(literal); i++ {
		if literal[i] != '\\' {
			continue
		}
		if first := unit(i); utf16.IsSurrogate(first) {
			if utf16.DecodeRune(first, unit(i+6)) == unicode.ReplacementChar {
				return true
			}
			i += 10
		}
		i++ // what is escaped starts no escape of its own
	}
	return false
}

// Decimal is an integer of 64 bits, in JSON a decimal string.
type Decimal uint64

// MarshalText writes no leading zeros.
func (d Decimal) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(d), 10), nil }

// UnmarshalText takes no leading zeros.
func (d *Decimal) UnmarshalText(text []byte) error {
	value, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || len(text) > 1 && text[0] == '0' {
		return errors.New("not an integer of 64 bits")
	}
	*d = Decimal(value)
	return nil
}

// Hex is bytes, in JSON lower-case hex.
type Hex []byte

// MarshalText writes lower case.
func (h Hex) MarshalText() ([]byte, error) {
	text := make([]byte, hex.EncodedLen(len(h)))
	hex.Encode(text, h)
	return text, nil
}

// UnmarshalText takes lower case alone.
func (h *Hex) UnmarshalText(text []byte) error {
	if bytes.ContainsAny(text, "ABCDEF") {
		return errors.New("not lower case")
	}
	*h = make(Hex, hex.DecodedLen(len(text)))
	_, err := hex.Decode(*h, text)
	return err
}

// Bytes32 is 32 bytes, in JSON lower-case hex.
type Bytes32 [32]byte

// MarshalText writes lower case.
func (b Bytes32) MarshalText() ([]byte, error) { return Hex(b[:]).MarshalText() }

// UnmarshalText takes 64 digits.
func (b *Bytes32) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(b)) {
		return errors.New("not 32 bytes")
	}
	var content Hex
	err := content.UnmarshalText(text)
	copy(b[:], content)
	return err
}
