"""Attaches to a target: from its text to an object that can be dialled as often as cases need.

Theory of the first connection. A faulty node and wrong settings look alike, so a contradiction is
reported only if the target itself shows it: it sends a challenge although it was called open, it
answers without one although it was called H1, in the other dialect than it was called, or its
challenge names another formation. Everything
else is left to the cases. A node that the suite has started states its facts on its ready line and
is judged by them; the only possible contradiction is a secret of its own in the command.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.targets import node as node_target
from meshwire_conformance.targets.base import (
    ADDRESS_FORMS,
    LISTENING,
    SCHEMES,
    demand_permission,
)
from meshwire_conformance.targets.facts import Facts, read_facts, require_profile
from meshwire_conformance.targets.handshake import (
    OTHER,
    Formation,
    HandshakeFailed,
    Rejected,
    WrongFormation,
    first_bytes,
    prove,
    read_challenge,
    read_secret,
)
from meshwire_conformance.targets.hosts import in_address, split_location
from meshwire_conformance.targets.listening import Listener, NamedDoor, with_names
from meshwire_conformance.targets.stdio import command_of
from meshwire_conformance.targets.transport import (
    Address,
    Connection,
    Dial,
    Dialler,
    NotDialled,
    Overdue,
    Stream,
)
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import ENDPOINT_ID, READ_MESSAGE, FrameType

Found = TypeVar("Found")

DIAL_S = 5.0
"""Seconds that a connection may take to open before there is a calibrated deadline.

A scale below 1 shortens neither this nor the start of a node: both are over as soon as they can be.
"""
DIAL_HERE = "{dial}"
"""What the suite replaces in the command of a node, each time by another address of its own."""
DIALS_HERE = {DIAL_HERE: "tcp", "{dial-quic}": "quic"}
"""The same for each transport over which a node can be made to dial."""
FIRST_DIAL_S = 60.0
"""Seconds that a person has to start an implementation which dials the suite."""
END_DIAL_S = 0.5
"""Seconds for the dial after the end of a node, and that its connection has to last."""
END_DIALS = 3
_ENDPOINT_ID = re.compile(r"(?:[0-9a-f]{64})?")
TRIAL_S = 1.0
"""Seconds that an answer to the trial may take."""
HANDSHAKE_TRIAL_S = 5.0
"""Seconds that the handshake of the trial may take."""
SECRET_OPTION = "--formation-secret-file"  # noqa: S105 - the name of an option
_KEY = "notes:meshwire-trial"
"""A document that no node holds."""
_FORMATION = "meshwire-trial"
"""A formation that no node belongs to."""
_IDENTITY = (1).to_bytes(ENDPOINT_ID, "big")
"""The endpoint id of the suite in a trial."""


@dataclass(slots=True)
class Target:
    """An attached target.

    `node` is its process if the suite has started it with `command`, under `settings`. `listener`
    takes the connections that it dials, if it was given an address of the suite. With `is_called`
    it is reached in no other way: then the listener is its dialler too. `named` takes those that it
    dials at an address which names an endpoint.
    """

    address: Address
    facts: Facts
    dialler: Dialler
    formation: Formation | None
    node: node_target.NodeProcess | None = None
    command: str = ""
    settings: Settings = field(default_factory=Settings)
    listener: Listener | None = None
    named: NamedDoor | None = None

    @property
    def is_called(self) -> bool:
        """True if every connection with the target is one that it has dialled."""
        return self.listener is not None and self.dialler is self.listener

    @property
    def binding(self) -> str:
        """Name of the binding: tcp, quic or iroh."""
        return self.address.binding

    async def dial(self, dial: Dial, deadline_s: float | None = None) -> Connection:
        """Return an open connection, before any handshake; raises ConnectionError."""
        began_at = time.monotonic()
        if deadline_s is None:
            deadline_s = DIAL_S * max(1.0, self.settings.timeout_scale)
        connection = await self.dialler.dial(dial, deadline_s)
        connection.began_at = began_at
        return connection

    async def accept(self, dial: Dial, deadline_s: float) -> Connection:
        """Return a connection that the target has dialled, before any handshake.

        Raises NotDialled if it dials none, and ConnectionError.
        """
        assert self.listener is not None, "cases that need one have the need `dials`"
        return await self.listener.dial(dial, deadline_s)

    async def fresh(self) -> Target:
        """Return the same target as a new process; raises what `start_node` does.

        Where both processes state one instance, the settings are informed.
        """
        fresh = await start_node(self.command, self.settings)
        assert self.node is not None, "only a node of the suite has a command"
        assert fresh.node is not None
        instance_id = fresh.node.ready.instance_id
        if instance_id == self.node.ready.instance_id:
            self.settings.said(
                f"two processes of the node state the instance_id {instance_id!r}: "
                "each start needs another one, so that a restart is noticed"
            )
        return fresh

    async def close(self) -> None:
        """Release the target and end its process if the suite has started it.

        A process in a session of its own does not end with its group: where the address still
        answers, the settings are informed.
        """
        try:
            await self.dialler.close()
            await _close_listeners(self.listener, self.named)
        finally:
            if self.node is not None:
                await self.node.stop()
                if await _still_listens(self.address):
                    self.settings.said(
                        f"the node is still listening on {self.facts.addresses[0]}: its process "
                        "has left the group in which it was started, so end it by hand"
                    )


async def _still_listens(address: Address) -> bool:
    """Return True if connections to the address of a node that has ended are taken and kept."""
    dialler = SCHEMES[address.binding].dialler
    assert dialler is not None, "an address has a transport"
    trial = dialler(address)
    # A process that hangs sends no preamble, and stays all the same.
    dial = getattr(trial, "dial_raw", trial.dial)
    try:
        for _ in range(END_DIALS):
            connection = await dial(Dial(_IDENTITY), END_DIAL_S)
            try:
                # A process that was killed a moment ago may take one connection more, and lose it.
                is_lost = await connection.signal.wait_for(
                    lambda: connection.closed is not None,  # noqa: B023 - awaited in this turn
                    END_DIAL_S,
                )
            finally:
                await connection.close()
            if not is_lost:
                return True
    except ConnectionError:
        return False
    finally:
        await trial.close()
    return True


def parse_address(text: str, *, listens: bool = False) -> Address:
    """Return the address in a text of any scheme in `SCHEMES`; raises UsageError.

    With `listens` it is one on which the suite listens, whose port may be 0; else one to dial.
    """
    binding, _, rest = text.partition("://")
    endpoint_id, _, location = rest.rpartition("@")
    scheme = SCHEMES.get(binding)
    if scheme is None or not (binding in LISTENING if listens else scheme.dialler):
        raise UsageError(f"{text!r} is no address: {ADDRESS_FORMS}")
    before = f"{binding}://{endpoint_id}@" if endpoint_id else f"{binding}://"
    host, port = split_location(location, before)
    if port == 0 and not listens:
        raise UsageError(f"{text!r}: port 0 cannot be dialled")
    fits = scheme.may_name_endpoint or scheme.names_endpoint == bool(endpoint_id)
    if not fits or _ENDPOINT_ID.fullmatch(endpoint_id) is None:
        raise UsageError(f"{text!r}: expected {scheme.form}")
    return Address(LISTENING[binding] if listens else binding, host, port, endpoint_id)


async def attach(attachment: Attachment, settings: Settings) -> Target:
    """Return the target of an attachment.

    Raises UsageError for an invalid text, or an address off this machine that the settings do not
    permit, and Incomplete if the target cannot be reached at all.
    """
    if attachment.scheme == "node":
        target = await start_node(attachment.location, settings)
    elif attachment.scheme in LISTENING:
        return await _listen(attachment, settings)
    else:
        address = f"{attachment.scheme}://{attachment.location}"
        target = _target(address, _facts_of(attachment), settings)
    try:
        require_profile(target.facts)
        await _try_once(target, settings.timeout_scale)
    except BaseException:
        await target.close()
        raise
    return target


async def start_node(command: str, settings: Settings | None = None) -> Target:
    """Start a node and return it as a target.

    Raises Incomplete if it does not become ready, and UsageError if its ready line names an address
    off this machine that the settings do not permit.
    """
    settings = settings or Settings()
    ready_s = node_target.READY_S * max(1.0, settings.timeout_scale)
    listener, filled = await _with_addresses(command)
    named: NamedDoor | None = None
    process: node_target.NodeProcess | None = None
    try:
        named, filled = await with_names(filled)
        process = await node_target.start(filled, ready_s=ready_s)
        facts = read_facts(process.ready)
        facts = replace(facts, secret_file=facts.secret_file or process.secret_file)
        target = _target(_first_address(facts), facts, settings)
    except BaseException:
        if process is not None:
            await process.stop()
        await _close_listeners(listener, named)
        raise
    target.node = process
    target.command = command
    for one in (listener, None if named is None else named.listener):
        if one is not None:
            one.hold_to(facts)
    target.listener, target.named = listener, named
    return target


async def _close_listeners(listener: Listener | None, named: NamedDoor | None) -> None:
    for one in (listener, None if named is None else named.listener):
        if one is not None:
            await one.close()


async def _with_addresses(command: str) -> tuple[Listener | None, str]:
    """Return a command with addresses of the suite in place of `{dial}`, and what listens there."""
    for place, binding in DIALS_HERE.items():
        first, *others = command.split(place)
        if not others:
            continue
        listener = Listener(binding)
        for other in others:
            first += await listener.bind("127.0.0.1", 0) + other
        return listener, first
    return None, command


def _listening_addresses(scheme: str, location: str, settings: Settings) -> list[Address]:
    """Return the addresses of a location: HOST:PORT, and behind commas further ones or ports.

    Raises UsageError for another text, or an address that the settings do not permit.
    """
    addresses: list[Address] = []
    for text in location.split(","):
        host = f"{in_address(addresses[-1].host)}:" if addresses and ":" not in text else ""
        address = f"{scheme}://{host}{text}"
        addresses.append(parse_address(address, listens=True))
        demand_permission(address, settings)
    return addresses


async def _listen(attachment: Attachment, settings: Settings) -> Target:
    """Return a target that dials, once it has dialled.

    Raises Incomplete if it does not, or the suite cannot listen, and what `_target` does.
    """
    facts = _facts_of(attachment)
    require_profile(facts)
    addresses = _listening_addresses(attachment.scheme, attachment.location, settings)
    listener = Listener(LISTENING[attachment.scheme])
    target = Target(addresses[0], facts, listener, _formation(facts), settings=settings)
    target.listener = listener
    try:
        for address in addresses:
            await listener.bind(address.host, address.port)
        listener.hold_to(facts)
        where = " and ".join(listener.addresses)
        settings.tells(f"listening on {where}: start the implementation so that it dials there")
        await listener.wait_for_dial(FIRST_DIAL_S * settings.timeout_scale)
    except NotDialled as exc:
        await listener.close()
        dials = " ".join(f"--connect {one}" for one in listener.addresses)
        raise Incomplete(
            f"{exc}: start it so that it does, as in meshwire-node run --open --listen "
            f"tcp://127.0.0.1:0 {dials}; a greater --timeout-scale waits longer"
        ) from exc
    except BaseException:
        await listener.close()
        raise
    return target


def _facts_of(attachment: Attachment) -> Facts:
    """Return what is known of a target before it is reached."""
    facts = read_facts(attachment.facts)
    return facts if attachment.control is None else replace(facts, control=attachment.control)


def _first_address(facts: Facts) -> str:
    if not facts.addresses:
        raise Incomplete("the ready line of the node names no address")
    return facts.addresses[0]


def _target(text: str, facts: Facts, settings: Settings) -> Target:
    """Return the target at an address, wherever that was stated, if the settings permit it."""
    address = parse_address(text)
    demand_permission(text, settings)
    dialler = SCHEMES[address.binding].dialler
    assert dialler is not None, "an address has a transport"
    return Target(address, facts, dialler(address), _formation(facts), settings=settings)


def _formation(facts: Facts) -> Formation | None:
    if facts.dialect == "open":
        return None
    if facts.secret_file is None:
        raise Incomplete(
            f"a target of dialect {facts.dialect} needs formation_secret_file in its target file"
        )
    return Formation(
        facts.formation_id,
        read_secret(facts.secret_file),
        facts.dialect,
        detects="detection" in facts.capabilities,
        proves="mutual-proof" in facts.capabilities,
    )


async def _try_once(target: Target, scale: float) -> None:
    """Connect once and check the settings against the target.

    Raises Incomplete if the target cannot be reached, UsageError if it contradicts the settings.
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
        more = "; a greater --timeout-scale gives it more time" if isinstance(exc, Overdue) else ""
        raise Incomplete(f"the target cannot be reached: {exc}{more}") from exc


def _options(command: str) -> set[str]:
    return {word.partition("=")[0] for word in command_of(command)}


async def _own_secret(target: Target, connection: Connection, scale: float) -> None:
    """Raise UsageError if the handshake fails because the command has a secret of its own."""
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
            f"the target is of the formation {exc.formation_id!r}, and this run expects "
            f"{target.formation.formation_id!r}: put the formation id right"
        ) from exc
    except Rejected as exc:
        raise UsageError(
            f"the target rejects the answer made with the secret in {target.facts.secret_file}: "
            "name the file with its secret instead; where that is the right one "
            "the target answers wrongly, and node:COMMAND or stdio:COMMAND shows where"
        ) from exc
    except HandshakeFailed as exc:
        said, other = target.formation.dialect, OTHER[target.formation.dialect]
        if await _once_more(target, _answers_openly, scale):
            raise UsageError(
                f"this run expects dialect {said}, and the target answers without a handshake: "
                'say dialect = "open"'
            ) from exc
        if await _once_more(target, partial(_challenge, dialect=other), scale) is not None:
            raise UsageError(
                f"this run expects dialect {said}, and the target answers in {other}: "
                f'say dialect = "{other}"'
            ) from exc


async def _called_open(target: Target, connection: Connection, scale: float) -> None:
    """Read from an open target; if it does not answer, check whether it sends a challenge."""
    if await _answers_openly(connection, scale):
        return
    for dialect in OTHER:
        formation_id = await _once_more(target, partial(_challenge, dialect=dialect), scale)
        if formation_id is not None:
            break
    else:
        return
    raise UsageError(
        f"the target wants the handshake of the formation {formation_id!r}, and nothing says its "
        f"secret: add --formation-id {shlex.quote(formation_id)} --formation-secret-file FILE "
        f"--dialect {dialect}, or say so in a target file (as README shows)"
    )


async def _once_more(
    target: Target, ask: Callable[[Connection, float], Awaitable[Found]], scale: float
) -> Found | None:
    """Ask over a further connection; return None if it cannot be opened."""
    try:
        connection = await target.dial(Dial(_IDENTITY))
    except ConnectionError:
        return None
    try:
        return await ask(connection, scale)
    finally:
        await connection.close()


async def _challenge(connection: Connection, scale: float, *, dialect: str) -> str | None:
    """Return the formation that a challenge in a dialect names, or None if no challenge comes."""
    try:
        stream = await connection.open()
        await stream.write(first_bytes(_FORMATION, dialect))
        return (await read_challenge(stream, TRIAL_S * scale, dialect))[0]
    except (ConnectionError, HandshakeFailed):
        return None


async def _answers_openly(connection: Connection, scale: float) -> bool:
    """Return True if a read of an unknown document is answered without a handshake."""
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
