package codec

import (
	"crypto/hmac"
	"crypto/sha256"
)

const (
	formationIDMaxBytes  = 255
	challengeH2MaxBytes  = 1024
	responseH2LeastBytes = 32
	responseH2MaxBytes   = 256
	handshakeVersion     = 1
	keyInfo              = "peat-protocol-v1-formation"
)

// FormationID is step 1 of dialect H1, from the initiator.
type FormationID struct {
	FormationID Text `json:"formation_id"`
}

func (m *FormationID) read(r *reader)  { m.FormationID = r.text("formation_id", little) }
func (m *FormationID) write(w *writer) { w.text("formation_id", m.FormationID, little) }

// Accept holds the id to its limit.
func (m *FormationID) Accept() Reason { return acceptFormationID(m.FormationID) }

func acceptFormationID(id Text) Reason {
	if len(id) > formationIDMaxBytes {
		return LengthLimit
	}
	return ""
}

// FormationChallenge is step 2 of dialect H1, from the acceptor.
type FormationChallenge struct {
	FormationID Text    `json:"formation_id"`
	Nonce       Bytes32 `json:"nonce"`
}

func (m *FormationChallenge) read(r *reader) {
	m.FormationID = r.text("formation_id", little)
	m.Nonce = r.bytes32("nonce")
}

func (m *FormationChallenge) write(w *writer) {
	w.text("formation_id", m.FormationID, little)
	w.bytes(m.Nonce[:])
}

// Accept holds the id to its limit.
func (m *FormationChallenge) Accept() Reason { return acceptFormationID(m.FormationID) }

// FormationVersion is step 0 of dialect H2, from the connector.
type FormationVersion struct {
	Version uint8 `json:"version"`
}

func (m *FormationVersion) read(r *reader) {
	if m.Version = r.u8("version"); m.Version != handshakeVersion {
		r.fail(BadVersion, r.at-1, "version")
	}
}

func (m *FormationVersion) write(w *writer) {
	if m.Version != handshakeVersion {
		w.fail(BadVersion, 0, "version")
	}
	w.u8(m.Version)
}

// Accept has nothing to say of a version.
func (m *FormationVersion) Accept() Reason { return "" }

// FormationChallengeH2 is step 1 of dialect H2, from the acceptor.
type FormationChallengeH2 struct {
	FormationChallenge
}

func (m *FormationChallengeH2) read(r *reader) {
	length := r.u32("length", little)
	if length > challengeH2MaxBytes {
		r.fail(LengthLimit, 0, "length")
	}
	r.part("length", length, func() {
		m.FormationChallenge.read(r)
		r.end()
	})
}

func (m *FormationChallengeH2) write(w *writer) {
	w.part("length", little, 0, challengeH2MaxBytes, func() { m.FormationChallenge.write(w) })
}

// FormationResponse is step 3 of dialect H1, from the initiator.
type FormationResponse struct {
	HMAC Bytes32 `json:"hmac"`
}

func (m *FormationResponse) read(r *reader)  { m.HMAC = r.bytes32("hmac") }
func (m *FormationResponse) write(w *writer) { w.bytes(m.HMAC[:]) }

// Accept has nothing to say of a response.
func (m *FormationResponse) Accept() Reason { return "" }

// FormationResponseH2 is step 2 of dialect H2, from the connector.
type FormationResponseH2 struct {
	FormationResponse
	Extra Hex `json:"extra"`
}

func (m *FormationResponseH2) read(r *reader) {
	length := r.u32("length", little)
	if length < responseH2LeastBytes || length > responseH2MaxBytes {
		r.fail(LengthLimit, 0, "length")
	}
	r.part("length", length, func() {
		m.FormationResponse.read(r)
		m.Extra = r.rest()
	})
}

func (m *FormationResponseH2) write(w *writer) {
	w.part("length", little, responseH2LeastBytes, responseH2MaxBytes, func() {
		m.FormationResponse.write(w)
		w.bytes(m.Extra)
	})
}

// FormationResult is the verdict of the acceptor, in both dialects.
type FormationResult struct {
	Result uint8 `json:"result"` // 1 is accepted, any other rejected
}

func (m *FormationResult) read(r *reader)  { m.Result = r.u8("result") }
func (m *FormationResult) write(w *writer) { w.u8(m.Result) }

// Accept has nothing to say of a result.
func (m *FormationResult) Accept() Reason { return "" }

// FormationRespond gives the response to a challenge; a secret may have any length.
func FormationRespond(formationID string, secret []byte, nonce [32]byte) *FormationResponse {
	if len(secret) != 32 {
		sum := sha256.Sum256(secret)
		secret = sum[:]
	}
	// HKDF-SHA256 of RFC 5869; one block suffices.
	prk := mac([]byte(formationID), secret)
	key := mac(prk, append([]byte(keyInfo), 1))
	return &FormationResponse{Bytes32(mac(key, append(nonce[:], formationID...)))}
}

func mac(key, data []byte) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write(data)
	return hash.Sum(nil)
}
