"""The formation handshake in both dialects; its integers are little endian."""

from meshwire_spec.fields import Constant, Fixed, Int8ub, Int16ul, Int32ul, Number, Text, Tolerated
from meshwire_spec.layouts.compound import Frame, Layout
from meshwire_spec.numbers import (
    CHALLENGE_H2_MAX,
    FORMATION_ID_MAX,
    HANDSHAKE_VERSION,
    HMAC,
    NONCE,
    RESPONSE_H2_MAX,
    RESPONSE_H2_MIN,
)


def _formation_id() -> Text:
    return Text(Int16ul, "name of the formation", limit=FORMATION_ID_MAX)


def _nonce() -> Fixed:
    return Fixed(NONCE, "random, never used twice")


def _hmac() -> Fixed:
    return Fixed(HMAC, "HMAC-SHA256 over nonce and formation id")


FORMATION_ID = Layout(
    "formation_id", "H1 step 1, from the initiator", {"formation_id": _formation_id()}
)
FORMATION_CHALLENGE = Layout(
    "formation_challenge",
    "H1 step 2, from the acceptor",
    {"formation_id": _formation_id(), "nonce": _nonce()},
)
FORMATION_VERSION = Layout(
    "formation_version",
    "H2 step 0, from the connector",
    {
        "version": Constant(
            Int8ub, HANDSHAKE_VERSION, "version of the handshake", reason="bad-version"
        )
    },
)
FORMATION_CHALLENGE_H2 = Layout(
    "formation_challenge_h2",
    "H2 step 1, from the acceptor",
    {"formation_id": _formation_id(), "nonce": _nonce()},
    frame=Frame(Int32ul, 0, CHALLENGE_H2_MAX),
)
FORMATION_RESPONSE = Layout(
    "formation_response", "H1 step 3, from the initiator", {"hmac": _hmac()}
)
FORMATION_RESPONSE_H2 = Layout(
    "formation_response_h2",
    "H2 step 2, from the connector",
    {"hmac": _hmac(), "extra": Tolerated("ignored by readers, never added by writers")},
    frame=Frame(Int32ul, RESPONSE_H2_MIN, RESPONSE_H2_MAX),
)
FORMATION_RESULT = Layout(
    "formation_result",
    "Verdict of the acceptor, in both dialects",
    {"result": Number(Int8ub, "1 is accepted, any other rejected; writers write 0 or 1")},
)
