"""Every transition of the protocol, as tables: (state, event) -> next state.

A pair that a table does not list is a fault of the side that caused the event; the docstring of the
table states its consequence. Pages and diagrams are generated from these tables, and the reference
runs them. Nothing here computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

# --- Lab binding: a connection ---------------------------------------------------------------


class LabConnectionState(StrEnum):
    """State of one side of a connection of the lab binding."""

    PREAMBLE = "preamble"
    OPEN = "open"
    CLOSED = "closed"


class LabConnectionEvent(StrEnum):
    """What happens to a connection of the lab binding."""

    PREAMBLE_RECEIVED = "preamble received"
    CLOSE_RECEIVED = "CLOSE received"
    CLOSE_SENT = "CLOSE sent"
    LINK_ENDED = "link ended"


LAB_CONNECTION: Final[
    Mapping[tuple[LabConnectionState, LabConnectionEvent], LabConnectionState]
] = MappingProxyType(
    {
        (LabConnectionState.PREAMBLE, LabConnectionEvent.PREAMBLE_RECEIVED): (
            LabConnectionState.OPEN
        ),
        (LabConnectionState.PREAMBLE, LabConnectionEvent.CLOSE_SENT): LabConnectionState.CLOSED,
        (LabConnectionState.PREAMBLE, LabConnectionEvent.LINK_ENDED): LabConnectionState.CLOSED,
        (LabConnectionState.OPEN, LabConnectionEvent.CLOSE_RECEIVED): LabConnectionState.CLOSED,
        (LabConnectionState.OPEN, LabConnectionEvent.CLOSE_SENT): LabConnectionState.CLOSED,
        (LabConnectionState.OPEN, LabConnectionEvent.LINK_ENDED): LabConnectionState.CLOSED,
    },
)
"""A connection. Records are read in `open` alone; in `closed` nothing is read any more."""

# --- Lab binding: the sending half of a stream -------------------------------------------------


class SendHalf(StrEnum):
    """State of the half of a stream that this side writes."""

    READY = "ready"
    FINISHING = "finishing"
    FINISHED = "finished"
    RESET = "reset"
    ABSENT = "absent"


class SendEvent(StrEnum):
    """What happens to a sending half."""

    DATA = "bytes handed over"
    FIN = "end handed over"
    FIN_SENT = "DATA with FIN sent"
    RESET = "reset asked for"
    STOP_RECEIVED = "STOP received"


SEND_HALF: Final[Mapping[tuple[SendHalf, SendEvent], SendHalf]] = MappingProxyType(
    {
        (SendHalf.READY, SendEvent.DATA): SendHalf.READY,
        (SendHalf.READY, SendEvent.FIN): SendHalf.FINISHING,
        (SendHalf.READY, SendEvent.RESET): SendHalf.RESET,
        (SendHalf.READY, SendEvent.STOP_RECEIVED): SendHalf.RESET,
        (SendHalf.FINISHING, SendEvent.FIN_SENT): SendHalf.FINISHED,
        (SendHalf.FINISHING, SendEvent.RESET): SendHalf.RESET,
        (SendHalf.FINISHING, SendEvent.STOP_RECEIVED): SendHalf.RESET,
        (SendHalf.FINISHED, SendEvent.RESET): SendHalf.FINISHED,
        (SendHalf.FINISHED, SendEvent.STOP_RECEIVED): SendHalf.FINISHED,
        (SendHalf.RESET, SendEvent.RESET): SendHalf.RESET,
        (SendHalf.RESET, SendEvent.STOP_RECEIVED): SendHalf.RESET,
        (SendHalf.ABSENT, SendEvent.RESET): SendHalf.ABSENT,
    },
)
"""A sending half. RESET is sent on entering `reset`: with code 0 where STOP caused it.

An event that is not listed is a fault of the local caller, except STOP received on an absent half:
the peer's, reason bad-stream.
"""

SEND_ENDED: Final = (SendHalf.FINISHED, SendHalf.RESET, SendHalf.ABSENT)
"""States in which a sending half no longer holds its stream."""

# --- Lab binding: the receiving half of a stream -----------------------------------------------


class ReceiveHalf(StrEnum):
    """State of the half of a stream that the peer writes."""

    RECEIVING = "receiving"
    STOPPED = "stopped"
    FINISHED = "finished"
    RESET = "reset"
    ABSENT = "absent"


class ReceiveEvent(StrEnum):
    """What happens to a receiving half."""

    DATA = "DATA received"
    FIN = "DATA with FIN received"
    RESET = "RESET received"
    STOP = "stop asked for"


RECEIVE_HALF: Final[Mapping[tuple[ReceiveHalf, ReceiveEvent], ReceiveHalf]] = MappingProxyType(
    {
        (ReceiveHalf.RECEIVING, ReceiveEvent.DATA): ReceiveHalf.RECEIVING,
        (ReceiveHalf.RECEIVING, ReceiveEvent.FIN): ReceiveHalf.FINISHED,
        (ReceiveHalf.RECEIVING, ReceiveEvent.RESET): ReceiveHalf.RESET,
        (ReceiveHalf.RECEIVING, ReceiveEvent.STOP): ReceiveHalf.STOPPED,
        (ReceiveHalf.STOPPED, ReceiveEvent.DATA): ReceiveHalf.STOPPED,
        (ReceiveHalf.STOPPED, ReceiveEvent.FIN): ReceiveHalf.FINISHED,
        (ReceiveHalf.STOPPED, ReceiveEvent.RESET): ReceiveHalf.RESET,
        (ReceiveHalf.STOPPED, ReceiveEvent.STOP): ReceiveHalf.STOPPED,
        (ReceiveHalf.FINISHED, ReceiveEvent.RESET): ReceiveHalf.FINISHED,
        (ReceiveHalf.FINISHED, ReceiveEvent.STOP): ReceiveHalf.FINISHED,
        (ReceiveHalf.RESET, ReceiveEvent.RESET): ReceiveHalf.RESET,
        (ReceiveHalf.RESET, ReceiveEvent.STOP): ReceiveHalf.RESET,
        (ReceiveHalf.ABSENT, ReceiveEvent.STOP): ReceiveHalf.ABSENT,
    },
)
"""A receiving half. Any other pair is a fault of the peer: CLOSE with reason bad-stream.

STOP is sent the first time it is asked for, in `receiving` or `finished`.
"""

RECEIVE_ENDED: Final = (ReceiveHalf.FINISHED, ReceiveHalf.RESET, ReceiveHalf.ABSENT)
"""States in which a receiving half no longer holds its stream."""

# --- Node: the session with one peer ------------------------------------------------------------


class SessionState(StrEnum):
    """State of a node toward the peer of one connection."""

    UNPROVEN = "unproven"
    READY = "ready"
    REJECTED = "rejected"
    CLOSING = "closing"
    CLOSED = "closed"


class SessionEvent(StrEnum):
    """What happens to a session."""

    NO_HANDSHAKE = "opened without a handshake"
    ACCEPTED = "result accepted"
    REJECTED = "result rejected"
    REFUSED = "connection refused"
    LINGER_OVER = "one second since the rejection"
    SHUT_DOWN = "node ends"
    CONNECTION_ENDED = "connection ended"


SESSION: Final[Mapping[tuple[SessionState, SessionEvent], SessionState]] = MappingProxyType(
    {
        (SessionState.UNPROVEN, SessionEvent.NO_HANDSHAKE): SessionState.READY,
        (SessionState.UNPROVEN, SessionEvent.ACCEPTED): SessionState.READY,
        (SessionState.UNPROVEN, SessionEvent.REJECTED): SessionState.REJECTED,
        (SessionState.UNPROVEN, SessionEvent.REFUSED): SessionState.CLOSING,
        (SessionState.UNPROVEN, SessionEvent.SHUT_DOWN): SessionState.CLOSING,
        (SessionState.UNPROVEN, SessionEvent.CONNECTION_ENDED): SessionState.CLOSED,
        (SessionState.READY, SessionEvent.REFUSED): SessionState.CLOSING,
        (SessionState.READY, SessionEvent.SHUT_DOWN): SessionState.CLOSING,
        (SessionState.READY, SessionEvent.CONNECTION_ENDED): SessionState.CLOSED,
        (SessionState.REJECTED, SessionEvent.LINGER_OVER): SessionState.CLOSING,
        (SessionState.REJECTED, SessionEvent.SHUT_DOWN): SessionState.CLOSING,
        (SessionState.REJECTED, SessionEvent.CONNECTION_ENDED): SessionState.CLOSED,
        (SessionState.CLOSING, SessionEvent.CONNECTION_ENDED): SessionState.CLOSED,
    },
)
"""A session. Frames are read and sent in `ready` alone; CLOSE is sent on entering `closing`."""

# --- Node: the handshake -------------------------------------------------------------------------


class HandshakeState(StrEnum):
    """State of one side of the handshake."""

    AWAITING_FIRST = "awaiting first bytes"
    AWAITING_VERSION = "awaiting version"
    AWAITING_ID = "awaiting id"
    AWAITING_CHALLENGE = "awaiting challenge"
    AWAITING_RESPONSE = "awaiting response"
    AWAITING_RESULT = "awaiting result"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAULTY = "faulty"


class HandshakeEvent(StrEnum):
    """What happens in the handshake."""

    FIRST_OF_H1 = "first byte of H1 received"
    FIRST_OF_H2 = "first byte 01 received"
    FIRST_OF_EARLY = "20 00 00 00 received"
    VERSION = "formation_version received"
    OTHER_VERSION = "any other first byte received"
    ID = "formation_id received"
    CHALLENGE = "formation_challenge received"
    RIGHT_RESPONSE = "right formation_response received"
    WRONG_RESPONSE = "wrong formation_response received"
    RESULT_ACCEPTED = "formation_result 1 received"
    RESULT_REJECTED = "any other formation_result received"
    OTHER_FORMATION = "formation_challenge of another formation received"
    OTHER_DIALECT = "challenge of the other dialect received"
    OWN_NONCE = "formation_challenge with an outstanding nonce of this node received"
    FAULT = "stream ended early, or a malformed message"


FORMATION_ACCEPTOR: Final[Mapping[tuple[HandshakeState, HandshakeEvent], HandshakeState]] = (
    MappingProxyType(
        {
            (HandshakeState.AWAITING_ID, HandshakeEvent.ID): HandshakeState.AWAITING_RESPONSE,
            (HandshakeState.AWAITING_ID, HandshakeEvent.FAULT): HandshakeState.FAULTY,
            (HandshakeState.AWAITING_RESPONSE, HandshakeEvent.RIGHT_RESPONSE): (
                HandshakeState.ACCEPTED
            ),
            (HandshakeState.AWAITING_RESPONSE, HandshakeEvent.WRONG_RESPONSE): (
                HandshakeState.REJECTED
            ),
            (HandshakeState.AWAITING_RESPONSE, HandshakeEvent.FAULT): HandshakeState.FAULTY,
        },
    )
)
"""The acceptor. The challenge is sent on entering `awaiting response`, the result on leaving it."""

FORMATION_ACCEPTOR_H2: Final[Mapping[tuple[HandshakeState, HandshakeEvent], HandshakeState]] = (
    MappingProxyType(
        {
            (HandshakeState.AWAITING_VERSION, HandshakeEvent.VERSION): (
                HandshakeState.AWAITING_RESPONSE
            ),
            (HandshakeState.AWAITING_VERSION, HandshakeEvent.OTHER_VERSION): HandshakeState.FAULTY,
            (HandshakeState.AWAITING_VERSION, HandshakeEvent.FAULT): HandshakeState.FAULTY,
            (HandshakeState.AWAITING_RESPONSE, HandshakeEvent.RIGHT_RESPONSE): (
                HandshakeState.ACCEPTED
            ),
            (HandshakeState.AWAITING_RESPONSE, HandshakeEvent.WRONG_RESPONSE): (
                HandshakeState.REJECTED
            ),
            (HandshakeState.AWAITING_RESPONSE, HandshakeEvent.FAULT): HandshakeState.FAULTY,
        },
    )
)
"""The acceptor of dialect H2, which sends as that of H1 does."""

FORMATION_DETECTION: Final[Mapping[tuple[HandshakeState, HandshakeEvent], HandshakeState]] = (
    MappingProxyType(
        {
            (HandshakeState.AWAITING_FIRST, HandshakeEvent.FIRST_OF_H1): (
                HandshakeState.AWAITING_ID
            ),
            (HandshakeState.AWAITING_FIRST, HandshakeEvent.FIRST_OF_H2): (
                HandshakeState.AWAITING_VERSION
            ),
            (HandshakeState.AWAITING_FIRST, HandshakeEvent.FIRST_OF_EARLY): (
                HandshakeState.AWAITING_RESPONSE
            ),
            (HandshakeState.AWAITING_FIRST, HandshakeEvent.FAULT): HandshakeState.FAULTY,
        },
    )
)
"""An acceptor that serves both dialects, until it knows that of its initiator."""

FORMATION_INITIATOR: Final[Mapping[tuple[HandshakeState, HandshakeEvent], HandshakeState]] = (
    MappingProxyType(
        {
            (HandshakeState.AWAITING_CHALLENGE, HandshakeEvent.CHALLENGE): (
                HandshakeState.AWAITING_RESULT
            ),
            (HandshakeState.AWAITING_CHALLENGE, HandshakeEvent.OTHER_FORMATION): (
                HandshakeState.FAULTY
            ),
            (HandshakeState.AWAITING_CHALLENGE, HandshakeEvent.OTHER_DIALECT): (
                HandshakeState.FAULTY
            ),
            (HandshakeState.AWAITING_CHALLENGE, HandshakeEvent.OWN_NONCE): HandshakeState.FAULTY,
            (HandshakeState.AWAITING_CHALLENGE, HandshakeEvent.FAULT): HandshakeState.FAULTY,
            (HandshakeState.AWAITING_RESULT, HandshakeEvent.RESULT_ACCEPTED): (
                HandshakeState.ACCEPTED
            ),
            (HandshakeState.AWAITING_RESULT, HandshakeEvent.RESULT_REJECTED): (
                HandshakeState.REJECTED
            ),
            (HandshakeState.AWAITING_RESULT, HandshakeEvent.FAULT): HandshakeState.FAULTY,
        },
    )
)
"""The initiator of either dialect.

It sends its id or its version at once, and its response on leaving `awaiting challenge`.
"""

# --- Node: the proof of an acceptor --------------------------------------------------------------


class ProofState(StrEnum):
    """How far an acceptor has proven itself to the side that dialled."""

    AWAITED = "awaited"
    UNDER_WAY = "under way"
    PROVEN = "proven"
    UNPROVEN = "unproven"
    FALSE = "false"


class ProofEvent(StrEnum):
    """What happens to the proof of an acceptor."""

    BEGUN = "formation_id on the first bidi stream of the acceptor"
    OTHER = "anything else on that stream"
    RIGHT = "right formation_response received"
    WRONG = "wrong formation_response received"
    CUT = "that stream ended early"
    LATE = "deadline passed"


ACCEPTOR_PROOF: Final[Mapping[tuple[ProofState, ProofEvent], ProofState]] = MappingProxyType(
    {
        (ProofState.AWAITED, ProofEvent.BEGUN): ProofState.UNDER_WAY,
        (ProofState.AWAITED, ProofEvent.OTHER): ProofState.UNPROVEN,
        (ProofState.AWAITED, ProofEvent.LATE): ProofState.UNPROVEN,
        (ProofState.UNDER_WAY, ProofEvent.RIGHT): ProofState.PROVEN,
        (ProofState.UNDER_WAY, ProofEvent.WRONG): ProofState.FALSE,
        (ProofState.UNDER_WAY, ProofEvent.CUT): ProofState.UNPROVEN,
        (ProofState.UNDER_WAY, ProofEvent.LATE): ProofState.UNPROVEN,
    },
)
"""The proof of an acceptor, at the side that dialled, from the result 1 on.

The challenge is sent on entering `under way`, the result on leaving it by a response. An acceptor
in `unproven` is refused or served, as configured; one in `false` is refused.
"""

# --- Node: a stream that the peer opened --------------------------------------------------------


class InboundState(StrEnum):
    """State of a stream that the peer opened, at its receiver."""

    OPEN = "open"
    ENDED = "ended by the peer"
    CUT = "cut off"
    REFUSED = "refused"
    DONE = "done"


class InboundEvent(StrEnum):
    """What happens to a stream that the peer opened."""

    FIN = "FIN received"
    RESET = "RESET received, or connection ended"
    FAULT = "fault found"
    ALL_TAKEN = "every whole frame has taken effect"


INBOUND_STREAM: Final[Mapping[tuple[InboundState, InboundEvent], InboundState]] = MappingProxyType(
    {
        (InboundState.OPEN, InboundEvent.FIN): InboundState.ENDED,
        (InboundState.OPEN, InboundEvent.RESET): InboundState.CUT,
        (InboundState.OPEN, InboundEvent.FAULT): InboundState.REFUSED,
        (InboundState.ENDED, InboundEvent.RESET): InboundState.CUT,
        (InboundState.ENDED, InboundEvent.FAULT): InboundState.REFUSED,
        (InboundState.ENDED, InboundEvent.ALL_TAKEN): InboundState.DONE,
        (InboundState.CUT, InboundEvent.RESET): InboundState.CUT,
        (InboundState.CUT, InboundEvent.FAULT): InboundState.REFUSED,
        (InboundState.CUT, InboundEvent.ALL_TAKEN): InboundState.DONE,
    },
)
"""An inbound stream. The receiver finishes its half on the way from `ended by the peer` to `done`.

On entering `refused` both halves end with the code of the reason. Before `refused` and `done`
frames take effect one after the other.
"""

INBOUND_OVER: Final = frozenset({InboundState.REFUSED, InboundState.DONE})
"""States in which an inbound stream is released and nothing of it takes effect any more."""

# --- Node: a reconciliation that it begins ------------------------------------------------------


class OwnRunState(StrEnum):
    """State of the client of a run."""

    IDLE = "idle"
    OPENING = "opening"
    SENDING = "sending"
    AWAITING = "awaiting an answer"
    WORKING = "working on an answer"
    FINISHING = "sending FIN"
    COMPLETE = "complete"
    OVER = "over"


class OwnRunEvent(StrEnum):
    """What happens to the client of a run."""

    STARTED = "tombstones have left"
    STREAM_OPENED = "stream opened"
    SENT = "message left, or never will"
    ANSWERED = "answer received"
    REPLIED = "answer leaves something open"
    SETTLED = "answer leaves nothing open"
    REFUSED = "fault found"
    PEER_ENDED = "peer has ended a half"
    TIME_OUT = "no answer in time"
    CONNECTION_ENDED = "connection ended"


OWN_RUN: Final[Mapping[tuple[OwnRunState, OwnRunEvent], OwnRunState]] = MappingProxyType(
    {
        (OwnRunState.IDLE, OwnRunEvent.STARTED): OwnRunState.OPENING,
        (OwnRunState.IDLE, OwnRunEvent.CONNECTION_ENDED): OwnRunState.OVER,
        (OwnRunState.OPENING, OwnRunEvent.STREAM_OPENED): OwnRunState.SENDING,
        (OwnRunState.OPENING, OwnRunEvent.REFUSED): OwnRunState.OVER,
        (OwnRunState.OPENING, OwnRunEvent.TIME_OUT): OwnRunState.OVER,
        (OwnRunState.OPENING, OwnRunEvent.CONNECTION_ENDED): OwnRunState.OVER,
        (OwnRunState.SENDING, OwnRunEvent.SENT): OwnRunState.AWAITING,
        (OwnRunState.SENDING, OwnRunEvent.TIME_OUT): OwnRunState.OVER,
        (OwnRunState.SENDING, OwnRunEvent.CONNECTION_ENDED): OwnRunState.OVER,
        (OwnRunState.AWAITING, OwnRunEvent.ANSWERED): OwnRunState.WORKING,
        (OwnRunState.AWAITING, OwnRunEvent.REFUSED): OwnRunState.OVER,
        (OwnRunState.AWAITING, OwnRunEvent.PEER_ENDED): OwnRunState.OVER,
        (OwnRunState.AWAITING, OwnRunEvent.TIME_OUT): OwnRunState.OVER,
        (OwnRunState.AWAITING, OwnRunEvent.CONNECTION_ENDED): OwnRunState.OVER,
        (OwnRunState.WORKING, OwnRunEvent.REPLIED): OwnRunState.SENDING,
        (OwnRunState.WORKING, OwnRunEvent.SETTLED): OwnRunState.FINISHING,
        (OwnRunState.WORKING, OwnRunEvent.REFUSED): OwnRunState.OVER,
        (OwnRunState.WORKING, OwnRunEvent.TIME_OUT): OwnRunState.OVER,
        (OwnRunState.WORKING, OwnRunEvent.CONNECTION_ENDED): OwnRunState.OVER,
        (OwnRunState.FINISHING, OwnRunEvent.SENT): OwnRunState.COMPLETE,
        (OwnRunState.FINISHING, OwnRunEvent.TIME_OUT): OwnRunState.OVER,
        (OwnRunState.FINISHING, OwnRunEvent.CONNECTION_ENDED): OwnRunState.OVER,
        (OwnRunState.COMPLETE, OwnRunEvent.REFUSED): OwnRunState.OVER,
        (OwnRunState.COMPLETE, OwnRunEvent.PEER_ENDED): OwnRunState.OVER,
        (OwnRunState.COMPLETE, OwnRunEvent.TIME_OUT): OwnRunState.OVER,
        (OwnRunState.COMPLETE, OwnRunEvent.CONNECTION_ENDED): OwnRunState.OVER,
        (OwnRunState.OVER, OwnRunEvent.CONNECTION_ENDED): OwnRunState.OVER,
    },
)
"""The client of a run. A run that enters `sending FIN` has found everything; one that enters
`over` before has not, and everything is offered. In `complete` any message of the peer is a fault.
"""

# --- Node: the initial exchange with one peer ---------------------------------------------------


class ExchangeState(StrEnum):
    """State of the initial exchange with one peer."""

    TOMBSTONES = "sending tombstones"
    TOMBSTONES_LEAVING = "tombstones leaving"
    DOCUMENTS = "choosing documents"
    MAKING = "making a batch"
    OVER = "over"


class ExchangeEvent(StrEnum):
    """What happens in the initial exchange."""

    TOMBSTONES_MADE = "last tombstones handed over"
    TOMBSTONES_LEFT = "last tombstones left, or never will"
    CHOSEN = "documents of a batch chosen"
    MADE = "entries of a batch made"
    EXHAUSTED = "no document is left"


INITIAL_EXCHANGE: Final[Mapping[tuple[ExchangeState, ExchangeEvent], ExchangeState]] = (
    MappingProxyType(
        {
            (ExchangeState.TOMBSTONES, ExchangeEvent.TOMBSTONES_MADE): (
                ExchangeState.TOMBSTONES_LEAVING
            ),
            (ExchangeState.TOMBSTONES_LEAVING, ExchangeEvent.TOMBSTONES_LEFT): (
                ExchangeState.DOCUMENTS
            ),
            (ExchangeState.DOCUMENTS, ExchangeEvent.CHOSEN): ExchangeState.MAKING,
            (ExchangeState.DOCUMENTS, ExchangeEvent.EXHAUSTED): ExchangeState.OVER,
            (ExchangeState.MAKING, ExchangeEvent.MADE): ExchangeState.DOCUMENTS,
        },
    )
)
"""The initial exchange, which goes on whenever the peer takes more and nothing else is to be sent.

All documents are chosen, or those that a run finds missing: the run starts in `choosing
documents`, and no document is chosen before it has ended.
"""
