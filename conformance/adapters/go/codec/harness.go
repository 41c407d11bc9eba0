package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Introduction is how a codec introduces itself to the harness.
type Introduction struct {
	Harness  int      `json:"harness"`
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Kinds    []string `json:"kinds"`
	Profiles []string `json:"profiles"`
	Reasons  bool     `json:"reasons"`
}

// Hello introduces the codec.
func Hello(name, version string) Introduction {
	return Introduction{1, name, version, Kinds(), []string{"sync/1"}, true}
}

// Decoded is the answer to decode.
type Decoded struct {
	Value   Message `json:"value"`
	Refused *Reason `json:"refused"`
}

// DecodeJSON is Decode and Accept, asked in JSON.
func DecodeJSON(kind, data json.RawMessage) (*Decoded, error) {
	var name Text
	var content Hex
	if err := arguments(argument{"kind", kind, &name}, argument{"data", data, &content}); err != nil {
		return nil, err
	}
	message, err := Decode(string(name), content)
	if err != nil {
		return nil, err
	}
	decoded := &Decoded{Value: message}
	if reason := message.Accept(); reason != "" {
		decoded.Refused = &reason
	}
	return decoded, nil
}

// Encoded is the answer to encode.
type Encoded struct {
	Data Hex `json:"data"`
}

// EncodeJSON is Encode, asked in JSON.
func EncodeJSON(kind, value json.RawMessage) (*Encoded, error) {
	var name Text
	if err := arguments(argument{"kind", kind, &name}); err != nil {
		return nil, err
	}
	message, err := New(string(name))
	if err != nil {
		return nil, err
	}
	if err := parse(value, "", reflect.ValueOf(message).Elem()); err != nil {
		return nil, err
	}
	data, err := Encode(message)
	if err != nil {
		return nil, err
	}
	return &Encoded{data}, nil
}

// RespondJSON is FormationRespond, asked in JSON.
func RespondJSON(formationID, secret, nonce json.RawMessage) (*FormationResponse, error) {
	var id Text
	var secretBytes Hex
	var nonceBytes Bytes32
	err := arguments(argument{"formation_id", formationID, &id}, argument{"secret", secret, &secretBytes},
		argument{"nonce", nonce, &nonceBytes})
	if err != nil {
		return nil, err
	}
	return FormationRespond(string(id), secretBytes, nonceBytes), nil
}

type argument struct {
	name   string
	raw    json.RawMessage
	target any
}

// arguments parses what a request holds besides a value; no reason of the registry fits their faults.
func arguments(list ...argument) error {
	for _, a := range list {
		if err := parse(a.raw, a.name, reflect.ValueOf(a.target).Elem()); err != nil {
			return &Error{Offset: nowhere, Message: a.name + ": " + err.Message}
		}
	}
	return nil
}

// parse is stricter than encoding/json: an object has all the members of its struct, spelled
// exactly, and no others, and only a pointer may be null.
func parse(raw json.RawMessage, path string, target reflect.Value) *Error {
	_, isText := target.Addr().Interface().(encoding.TextUnmarshaler)
	kind := target.Kind()
	null := string(raw) == "null"
	switch {
	case raw == nil:
		return badValue(path, "missing")
	case kind == reflect.Pointer && null:
		return nil
	case null:
		return badValue(path, "null")
	case kind == reflect.Pointer:
		target.Set(reflect.New(target.Type().Elem()))
		return parse(raw, path, target.Elem())
	case kind == reflect.Struct:
		return parseObject(raw, path, target)
	case kind == reflect.Slice && !isText:
		return parseList(raw, path, target)
	}
	if err := json.Unmarshal(raw, target.Addr().Interface()); err != nil {
		return badValue(path, err.Error())
	}
	return nil
}

func parseObject(raw json.RawMessage, path string, target reflect.Value) *Error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return badValue(path, err.Error())
	}
	for _, field := range reflect.VisibleFields(target.Type()) {
		if field.Anonymous {
			continue // its own fields are visible too
		}
		name := field.Tag.Get("json")
		if err := parse(members[name], strings.TrimPrefix(path+"."+name, "."), target.FieldByIndex(field.Index)); err != nil {
			return err
		}
		delete(members, name)
	}
	for name := range members {
		return badValue(path, "no such member: "+name)
	}
	return nil
}

func parseList(raw json.RawMessage, path string, target reflect.Value) *Error {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return badValue(path, err.Error())
	}
	target.Set(reflect.MakeSlice(target.Type(), len(elements), len(elements)))
	for i, element := range elements {
		if err := parse(element, fmt.Sprintf("%s[%d]", path, i), target.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func badValue(path, message string) *Error {
	return &Error{Reason: BadValue, Offset: nowhere, Field: path, Message: message}
}
