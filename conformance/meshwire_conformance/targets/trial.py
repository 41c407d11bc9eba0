"""The first connection: whether what we were told of the target can be so.

Theory of operation. A node that is wrong and settings that are wrong look alike, so a contradiction
is said only where the target itself shows it: it challenges although it was called open, it answers
openly although it was called H1, its challenge names another formation. Everything else is left to
the cases. A node that the suite has started says on its ready line what it is, and is judged by it;
there the one thing to contradict is a secret of its own in the command.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.protocol.handshake import (
    HandshakeFailed,
    Rejected,
    WrongFormation,
    formation_id_bytes,
    prove,
    read_challenge,
)
from meshwire_conformance.targets.transport import Connection, Dial, Stream
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import READ_MESSAGE, FrameType

if TYPE_CHECKING:
    from meshwire_conformance.targets.attach import Target

Answer = TypeVar("Answer")

TRIAL_S = 1.0
HANDSHAKE_TRIAL_S = 5.0
SECRET_OPTION = "--formation-secret-file"  # noqa: S105 - the name of an option
_KEY = "notes:meshwire-trial"
_FORMATION = "meshwire-trial"
_IDENTITY = bytes(31) + b"\x01"


async def try_once(target: Target, scale: float) -> None:
    """Connect, and look whether the settings can be right.

    Raises Incomplete where the target cannot be reached, UsageError where it contradicts what the
    caller says of it.
    """
    connection = await _connected(target)
    try:
        if target.node is None:
            await _contradicted(target, connection, scale)
        elif target.formation is not None and SECRET_OPTION in _options(target.command):
            await _own_secret(target, connection, scale)
    finally:
        await connection.close()


async def _connected(target: Target) -> Connection:
    try:
        return await target.dial(Dial(_IDENTITY))
    except ConnectionError as exc:
        raise Incomplete(f"the target cannot be reached: {exc}") from exc


def _options(command: str) -> set[str]:
    return {word.partition("=")[0] for word in shlex.split(command)}


async def _own_secret(target: Target, connection: Connection, scale: float) -> None:
    """The command has a secret of its own: say so where the one that it was given fails."""
    assert target.formation is not None
    try:
        await prove(connection, target.formation, HANDSHAKE_TRIAL_S * scale)
    except Rejected as exc:
        raise UsageError(
            f"the node does not know the secret of this run: leave {SECRET_OPTION} out of its "
            "command, the suite names a file with a new secret in MESHWIRE_FORMATION_FILE"
        ) from exc
    except HandshakeFailed:
        return


async def _contradicted(target: Target, connection: Connection, scale: float) -> None:
    if target.formation is None:
        await _called_open(target, connection, scale)
        return
    try:
        await prove(connection, target.formation, HANDSHAKE_TRIAL_S * scale)
    except WrongFormation as exc:
        raise UsageError(
            f"the target is of the formation {exc.formation_id!r}, and the target file says "
            f"{target.formation.formation_id!r}: put its formation_id right"
        ) from exc
    except Rejected as exc:
        raise UsageError(
            f"the target rejects the answer made with the secret in {target.facts.secret_file}: "
            "name the file with its secret as formation_secret_file; where that is the right one "
            "the target answers wrongly, and node:COMMAND or stdio:COMMAND shows where"
        ) from exc
    except HandshakeFailed as exc:
        if await _once_more(target, _answers_openly, scale):
            raise UsageError(
                "the target file says dialect H1, and the target answers without a handshake: "
                'say dialect = "open"'
            ) from exc


async def _called_open(target: Target, connection: Connection, scale: float) -> None:
    """An open target takes a read; where it does not, look whether it challenges."""
    if await _answers_openly(connection, scale):
        return
    formation_id = await _once_more(target, _challenge, scale)
    if formation_id is None:
        return
    raise UsageError(
        f"the target wants the handshake of the formation {formation_id!r}, and nothing says its "
        f"secret: describe it in a file with addresses, profile, dialect, formation_id and "
        f"formation_secret_file, and give that as --target FILE (as README shows)"
    )


async def _once_more(
    target: Target, ask: Callable[[Connection, float], Awaitable[Answer]], scale: float
) -> Answer | None:
    """Ask over a further connection; None where there is none, which the cases will tell."""
    try:
        connection = await target.dial(Dial(_IDENTITY))
    except ConnectionError:
        return None
    try:
        return await ask(connection, scale)
    finally:
        await connection.close()


async def _challenge(connection: Connection, scale: float) -> str | None:
    """The formation that a challenge names, where one comes."""
    try:
        stream = await connection.open()
        await stream.write(formation_id_bytes(_FORMATION))
        return (await read_challenge(stream, TRIAL_S * scale))[0]
    except (ConnectionError, HandshakeFailed):
        return None


async def _answers_openly(connection: Connection, scale: float) -> bool:
    """Whether a read of a document that is nowhere is taken to its end without a handshake."""
    fields = {"key": _KEY, "type": int(FrameType.DELTA), "payload": READ_MESSAGE}
    question = encode(Message("stream_frame", fields))
    try:
        stream: Stream = await connection.open()
    except ConnectionError:
        return False
    await stream.write(question)
    await stream.finish()
    await stream.wait_for(lambda: stream.read_over, TRIAL_S * scale)
    return stream.finished and bytes(stream.received) != question
