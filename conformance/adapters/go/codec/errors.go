package codec

import (
	"encoding/json"
	"fmt"
)

// Reason is a name of the registry of reasons; the empty one is none.
type Reason string

// The reasons that this codec gives.
const (
	Truncated     Reason = "truncated"
	TrailingBytes Reason = "trailing-bytes"
	BadUTF8       Reason = "bad-utf8"
	UnknownType   Reason = "unknown-type"
	LengthLimit   Reason = "length-limit"
	CountLimit    Reason = "count-limit"
	BadDirection  Reason = "bad-direction"
	BadKey        Reason = "bad-key"
	BadVersion    Reason = "bad-version"
	BadMarker     Reason = "bad-marker"
	BadValue      Reason = "bad-value"
)

// nowhere is the offset of an error that concerns no byte.
const nowhere = -1

// Error says why bytes or a value are refused.
type Error struct {
	Reason  Reason // empty where no message was at hand, such as for an unknown kind
	Offset  int    // byte at which the field at fault begins, or nowhere
	Field   string // path of that field, "" for the message itself
	Message string // text for a person, may be empty
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return e.Message
	}
	return fmt.Sprintf("%s at %q, offset %d %s", e.Reason, e.Field, e.Offset, e.Message)
}

// MarshalJSON writes the members that the error has.
func (e *Error) MarshalJSON() ([]byte, error) {
	members := map[string]any{}
	if e.Reason != "" {
		members["reason"], members["field"] = e.Reason, e.Field
		if e.Offset != nowhere {
			members["offset"] = e.Offset
		}
	}
	if e.Message != "" {
		members["message"] = e.Message
	}
	return json.Marshal(members)
}

// Unknown is the error for a name that nothing here has.
func Unknown(what, name string) error {
	return &Error{Offset: nowhere, Message: "unknown " + what + ": " + name}
}

// inside puts the path of an element in front of the field of its error.
func (e *Error) inside(path string) {
	if e.Field == "" {
		e.Field = path
	} else {
		e.Field = path + "." + e.Field
	}
}
