// Package codec decodes and encodes the messages of meshwire, profile sync/1.
package codec

// Message is one message of any kind.
type Message interface {
	// Accept says for which reason a strict node refuses the message although it decodes, or "".
	Accept() Reason

	read(*reader)
	write(*writer)
}

var registry = []struct {
	kind  string
	empty func() Message
}{
	{"stream_frame", func() Message { return new(StreamFrame) }},
	{"sync_entry", func() Message { return new(SyncEntry) }},
	{"sync_batch", func() Message { return new(SyncBatch) }},
	{"tombstone", func() Message { return new(Tombstone) }},
	{"tombstone_batch", func() Message { return new(TombstoneBatch) }},
	{"heartbeat", func() Message { return new(Heartbeat) }},
	{"formation_id", func() Message { return new(FormationID) }},
	{"formation_challenge", func() Message { return new(FormationChallenge) }},
	{"formation_version", func() Message { return new(FormationVersion) }},
	{"formation_challenge_h2", func() Message { return new(FormationChallengeH2) }},
	{"formation_response", func() Message { return new(FormationResponse) }},
	{"formation_response_h2", func() Message { return new(FormationResponseH2) }},
	{"formation_result", func() Message { return new(FormationResult) }},
}

// Kinds lists the kinds that the codec has.
func Kinds() []string {
	kinds := make([]string, len(registry))
	for i, entry := range registry {
		kinds[i] = entry.kind
	}
	return kinds
}

// New gives an empty message of a kind.
func New(kind string) (Message, error) {
	for _, entry := range registry {
		if entry.kind == kind {
			return entry.empty(), nil
		}
	}
	return nil, Unknown("kind", kind)
}

// Decode reads one message that fills data. The message keeps parts of data.
func Decode(kind string, data []byte) (Message, error) {
	message, err := New(kind)
	if err != nil {
		return nil, err
	}
	r := &reader{data: data}
	message.read(r)
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return message, nil
}

// Encode writes a message with exactly the bytes that it decodes from.
func Encode(message Message) ([]byte, error) {
	w := new(writer)
	message.write(w)
	if w.err != nil {
		return nil, w.err
	}
	return w.out, nil
}
