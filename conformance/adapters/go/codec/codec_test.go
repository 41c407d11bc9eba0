package codec

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// bytesOf reads hex with spaces, as the pages write it.
func bytesOf(t testing.TB, digits string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var (
	nonce = strings.Repeat("ab", 32)

	// The examples of the pages, and one for each kind that has none there.
	examples = []struct{ kind, data, value string }{
		{"stream_frame", "00 0a 62 65 61 63 6f 6e 73 3a 62 31 01 00 00 00 02 aa bb",
			`{"key":"beacons:b1","type":1,"payload":"aabb"}`},
		{"sync_entry", "0003 613a3c ff 00000001 7f", `{"key":"a:<","type":255,"payload":"7f"}`},
		{"sync_batch", "0000000000000001 0000018bcfe56800 05 00000001 000a 626561636f6e733a6231 01 00000002 aabb",
			`{"batch_id":"1","created_at":"1700000000000","ttl":5,"entry_count":1,` +
				`"entries":[{"key":"beacons:b1","type":1,"payload":"aabb"}],"fault":null,"extra":""}`},
		{"sync_batch", "0000000000000001 0000018bcfe56800 05 00000002 000a 626561636f6e733a6231 01 00000002 aabb 0005",
			`{"batch_id":"1","created_at":"1700000000000","ttl":5,"entry_count":2,` +
				`"entries":[{"key":"beacons:b1","type":1,"payload":"aabb"}],` +
				`"fault":{"reason":"truncated","offset":40,"rest":"0005"},"extra":""}`},
		{"tombstone", "0006 747261636b73 0005 646f632d31 0000018bcfe56800 000000000000000a 0006 6e6f64652d61 0000 00",
			`{"collection":"tracks","document_id":"doc-1","deleted_at":"1700000000000","lamport":"10",` +
				`"deleted_by":"node-a","reason":"","direction":0,"extra":""}`},
		{"tombstone_batch", "00000001 0000001d 0001 63 0001 64 0000000000000102 ffffffffffffffff 0001 65 0000 03 7e 99",
			`{"tombstone_count":1,"tombstones":[{"collection":"c","document_id":"d","deleted_at":"258",` +
				`"lamport":"18446744073709551615","deleted_by":"e","reason":"","direction":3,"extra":"7e"}],` +
				`"fault":null,"extra":"99"}`},
		{"heartbeat", "01 0000018bcfe56800", `{"marker":1,"sent_at":"1700000000000","extra":""}`},
		{"formation_id", "0e00 746573742d666f726d6174696f6e", `{"formation_id":"test-formation"}`},
		{"formation_challenge", "0e00 746573742d666f726d6174696f6e" + nonce,
			`{"formation_id":"test-formation","nonce":"` + nonce + `"}`},
		{"formation_version", "01", `{"version":1}`},
		{"formation_challenge_h2", "30000000 0e00 746573742d666f726d6174696f6e" + nonce,
			`{"formation_id":"test-formation","nonce":"` + nonce + `"}`},
		{"formation_response", nonce, `{"hmac":"` + nonce + `"}`},
		{"formation_response_h2", "21000000" + nonce + "7f", `{"hmac":"` + nonce + `","extra":"7f"}`},
		{"formation_result", "02", `{"result":2}`},
	}
)

func TestExamplesDecodeAndEncode(t *testing.T) {
	for _, example := range examples {
		data := bytesOf(t, example.data)
		message, err := Decode(example.kind, data)
		if err != nil {
			t.Errorf("%s: %v", example.kind, err)
			continue
		}
		var value bytes.Buffer
		encoder := json.NewEncoder(&value)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(message); err != nil || strings.TrimSpace(value.String()) != example.value {
			t.Errorf("%s: value %s %v", example.kind, value.String(), err)
		}
		encoded, err := EncodeJSON(json.RawMessage(`"`+example.kind+`"`), json.RawMessage(example.value))
		if err != nil || !bytes.Equal(encoded.Data, data) {
			t.Errorf("%s: encoded %v %v", example.kind, encoded, err)
		}
	}
}

func TestEveryCutIsRefusedOrSound(t *testing.T) {
	for _, example := range examples {
		data := bytesOf(t, example.data)
		for size := range data {
			roundTrip(t, example.kind, data[:size])
		}
	}
}

// roundTrip holds whatever decodes to its own bytes.
func roundTrip(t *testing.T, kind string, data []byte) {
	message, err := Decode(kind, data)
	if err != nil {
		return
	}
	if encoded, err := Encode(message); err != nil || !bytes.Equal(encoded, data) {
		t.Errorf("%s of %x encodes to %x, %v", kind, data, encoded, err)
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, example := range examples {
		f.Add(bytesOf(f, example.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range Kinds() {
			roundTrip(t, kind, data)
		}
	})
}

func TestDecodeNamesReasonOffsetAndField(t *testing.T) {
	for _, c := range []struct {
		kind, data string
		want       Error
	}{
		{"stream_frame", "00", Error{Truncated, 0, "key.length", ""}},
		{"stream_frame", "00 05 61", Error{Truncated, 2, "key", ""}},
		{"stream_frame", "0001 ff 01 00000000", Error{BadUTF8, 2, "key", ""}},
		{"stream_frame", "0001 78 03 00000000", Error{UnknownType, 3, "type", ""}},
		{"stream_frame", "0001 78 01 01000001", Error{LengthLimit, 4, "payload.length", ""}},
		{"stream_frame", "0001 78 01 00000000 ff", Error{TrailingBytes, 8, "", ""}},
		{"sync_batch", strings.Repeat("00", 17) + "ffffffff", Error{CountLimit, 17, "entry_count", ""}},
		{"sync_batch", strings.Repeat("00", 17) + "00000001 0005 6161616161", Error{Truncated, 28, "entries[0].type", ""}},
		{"tombstone_batch", "00000001 0000001a" + strings.Repeat("00", 25), Error{Truncated, 8, "tombstones[0]", ""}},
		{"tombstone_batch", "00000001 00000001" + strings.Repeat("00", 25), Error{Truncated, 8, "tombstones[0].collection.length", ""}},
		{"tombstone", strings.Repeat("00", 24) + "04", Error{BadDirection, 24, "direction", ""}},
		{"heartbeat", "02", Error{BadMarker, 0, "marker", ""}},
		{"formation_challenge", "0000" + "7f", Error{Truncated, 2, "nonce", ""}},
		{"formation_version", "02", Error{BadVersion, 0, "version", ""}},
		{"formation_challenge_h2", "01040000", Error{LengthLimit, 0, "length", ""}},
		{"formation_challenge_h2", "24000000 0100 78" + nonce + "00", Error{TrailingBytes, 39, "", ""}},
		{"formation_response_h2", "1f000000", Error{LengthLimit, 0, "length", ""}},
		{"formation_response_h2", "20000000", Error{Truncated, 4, "length", ""}},
	} {
		var got *Error
		if _, err := Decode(c.kind, bytesOf(t, c.data)); !errors.As(err, &got) || *got != c.want {
			t.Errorf("%s %s: %v, not %v", c.kind, c.data, err, &c.want)
		}
	}
}

func TestAcceptRefusesWhatDecodes(t *testing.T) {
	long := Text(strings.Repeat("x", 1100))
	tombstone := Tombstone{Collection: "c", DocumentID: "d", DeletedBy: "e"}
	badID, noAuthor := tombstone, tombstone
	badID.DocumentID, noAuthor.DeletedBy = "d\u0085", ""
	for _, c := range []struct {
		message Message
		want    Reason
	}{
		{&StreamFrame{Key: "a.b-c_D9:x:y"}, ""},
		{&StreamFrame{Key: ""}, LengthLimit},
		{&StreamFrame{Key: "c:" + long}, LengthLimit},
		{&StreamFrame{Key: "c:" + long[:896]}, BadKey},
		{&StreamFrame{Key: long[:129] + ":x"}, BadKey},
		{&StreamFrame{Key: "batch"}, BadKey},
		{&StreamFrame{Key: "c:"}, BadKey},
		{&StreamFrame{Key: "é:x"}, BadKey},
		{&StreamFrame{Key: "tombstones:x"}, BadKey},
		{&StreamFrame{Key: "c:\x7f"}, BadKey},
		{&StreamFrame{Key: "", Type: TypeTombstoneAck}, ""},
		{&StreamFrame{Key: long, Type: TypeBatch}, LengthLimit},
		{&SyncEntry{Key: "", Type: 3}, UnknownType},
		{&SyncEntry{Key: long, Type: TypeTombstone}, LengthLimit},
		{&tombstone, ""},
		{&badID, BadKey},
		{&noAuthor, LengthLimit},
		{&FormationChallenge{FormationID: long[:256]}, LengthLimit},
		{&FormationID{}, ""},
	} {
		if got := c.message.Accept(); got != c.want {
			t.Errorf("%.80v: %q, not %q", c.message, got, c.want)
		}
	}
}

func TestEncodeRefusesWhatNoFieldHolds(t *testing.T) {
	long := Text(strings.Repeat("x", 1<<16))
	entry := SyncEntry{Key: "a:b"}
	for _, c := range []struct {
		message Message
		reason  Reason
		field   string
	}{
		{&StreamFrame{Key: long}, LengthLimit, "key.length"},
		{&StreamFrame{Key: "\xff"}, BadUTF8, "key"},
		{&StreamFrame{Type: 3}, UnknownType, "type"},
		{&SyncEntry{Payload: make(Hex, PayloadMaxBytes+1)}, LengthLimit, "payload.length"},
		{&SyncBatch{EntryCount: 2, Entries: []SyncEntry{entry}}, BadValue, "entry_count"},
		{&SyncBatch{EntryCount: 2, Entries: []SyncEntry{entry, {Key: long}}}, LengthLimit, "entries[1].key.length"},
		{&SyncBatch{EntryCount: 1, Entries: []SyncEntry{entry}, Fault: &Fault{Truncated, 31, nil}}, BadValue, "fault"},
		{&SyncBatch{EntryCount: 9, Entries: []SyncEntry{entry}, Fault: &Fault{Truncated, 31, nil}}, CountLimit, "entry_count"},
		{&Tombstone{Direction: 4}, BadDirection, "direction"},
		{&Heartbeat{Marker: 2}, BadMarker, "marker"},
		{&FormationChallengeH2{FormationChallenge{FormationID: long[:991]}}, LengthLimit, "length"},
		{&FormationResponseH2{Extra: make(Hex, 225)}, LengthLimit, "length"},
	} {
		var got *Error
		if _, err := Encode(c.message); !errors.As(err, &got) || got.Reason != c.reason || got.Field != c.field {
			t.Errorf("%.80v: %v, not %s at %s", c.message, err, c.reason, c.field)
		}
	}
}

func TestValuesThatAreNoneAreRefused(t *testing.T) {
	for _, c := range []struct{ kind, value, field string }{
		{"heartbeat", `{"marker":1,"sent_at":"07","extra":""}`, "sent_at"},
		{"heartbeat", `{"marker":1,"sent_at":7,"extra":""}`, "sent_at"},
		{"heartbeat", `{"marker":1,"sent_at":"18446744073709551616","extra":""}`, "sent_at"},
		{"heartbeat", `{"marker":256,"sent_at":"7","extra":""}`, "marker"},
		{"heartbeat", `{"marker":null,"sent_at":"7","extra":""}`, "marker"},
		{"heartbeat", `{"marker":1,"sent_at":"7","extra":"0"}`, "extra"},
		{"heartbeat", `{"marker":1,"sent_at":"7","extra":"0A"}`, "extra"},
		{"heartbeat", `{"Marker":1,"sent_at":"7","extra":""}`, "marker"},
		{"heartbeat", `{"marker":1,"sent_at":"7","extra":"","more":1}`, ""},
		{"formation_id", `{"formation_id":"\ud800"}`, "formation_id"},
		{"formation_id", `{"formation_id":"\ud83dx"}`, "formation_id"},
		{"formation_id", "{\"formation_id\":\"\xff\"}", "formation_id"},
		{"formation_response", `{"hmac":"ab"}`, "hmac"},
		{"tombstone_batch", `{"tombstone_count":1,"tombstones":[{}],"fault":null,"extra":""}`, "tombstones[0].collection"},
	} {
		var got *Error
		_, err := EncodeJSON(json.RawMessage(`"`+c.kind+`"`), json.RawMessage(c.value))
		if !errors.As(err, &got) || got.Reason != BadValue || got.Field != c.field {
			t.Errorf("%s: %v, not %s at %s", c.value, err, BadValue, c.field)
		}
	}
	sound := `{"formation_id":"\\ud800 \ud83d\ude00"}`
	if encoded, err := EncodeJSON(json.RawMessage(`"formation_id"`), json.RawMessage(sound)); err != nil {
		t.Error(encoded, err)
	}
}

func TestResponseIsThatOfThePage(t *testing.T) {
	challenge := Bytes32(bytes.Repeat([]byte{0xab}, 32))
	for secret, want := range map[string]string{
		strings.Repeat("B", 32): "beb732d4b9ddc90ce7012f3ece524489d1181e69ee748d6221871508c2b120f1",
		"a secret of 21 bytes!": "e32cf64db17dcf00ee3140654cde6d68ef3e2de9de1067e3764ce708c6693b37",
	} {
		response := FormationRespond("test-formation", []byte(secret), challenge)
		if got := hex.EncodeToString(response.HMAC[:]); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
