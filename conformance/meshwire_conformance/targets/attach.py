"""From the text of a target to something that can be dialled, as often as cases ask for it."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, replace
from types import ModuleType
from typing import ClassVar, Protocol

from meshwire_conformance.catalogue.case import EVERYTHING
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.extras import install_line
from meshwire_conformance.protocol.handshake import Formation, read_secret
from meshwire_conformance.targets import node as node_target
from meshwire_conformance.targets import tcp
from meshwire_conformance.targets.base import is_loopback
from meshwire_conformance.targets.facts import Facts, read_facts, require_profile
from meshwire_conformance.targets.transport import Connection, Dial
from meshwire_conformance.targets.trial import try_once

DIAL_S = 5.0
"""How long a connection may take to come up; calibration comes only after it."""
BINDINGS = ("tcp", "iroh")
_ADDRESS = re.compile(r"(?:([0-9a-f]{64})@)?(\[[0-9A-Fa-f:.]+\]|[^:@\[\]]+):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a target listens, and over which binding."""

    binding: str
    host: str
    port: int
    endpoint_id: str = ""


class Dialler(Protocol):
    """What each binding's module offers; `shows` names what is seen over it (`visible`)."""

    @property
    def shows(self) -> frozenset[str]:
        """What cases can look at that not every binding shows."""

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """A connection that is up; raises ConnectionError."""

    async def close(self) -> None:
        """Release what was kept between connections."""


@dataclass(slots=True)
class TcpDialler:
    """Dials the lab binding."""

    address: Address
    shows: ClassVar[frozenset[str]] = EVERYTHING

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """A connection whose preambles were exchanged; raises ConnectionError."""
        return await tcp.connect(self.address.host, self.address.port, dial, deadline_s)

    async def dial_raw(self, dial: Dial, deadline_s: float) -> tcp.TcpConnection:
        """A connection on which nothing was awaited; raises ConnectionError."""
        return await tcp.connect_raw(self.address.host, self.address.port, dial, deadline_s)

    async def close(self) -> None:
        """Nothing is kept."""


@dataclass(slots=True)
class Target:
    """An attached target. `node` is its process where the suite has started it.

    `scale` is what the caller multiplies deadlines by, that of the ready line among them.
    """

    address: Address
    facts: Facts
    dialler: Dialler
    formation: Formation | None
    node: node_target.NodeProcess | None = None
    command: str = ""
    scale: float = 1.0

    @property
    def binding(self) -> str:
        """Name of the binding: tcp or iroh."""
        return self.address.binding

    async def dial(self, dial: Dial, deadline_s: float = DIAL_S) -> Connection:
        """A connection that is up, before any handshake; raises ConnectionError."""
        return await self.dialler.dial(dial, deadline_s)

    async def fresh(self) -> Target:
        """The same target as a new process; raises Incomplete where it cannot be started."""
        return await start_node(self.command, self.scale)

    async def close(self) -> None:
        """Release the target and end its process where the suite has started it."""
        try:
            await self.dialler.close()
        finally:
            if self.node is not None:
                await self.node.stop()


def parse_address(text: str) -> Address:
    """Read `tcp://HOST:PORT` or `iroh://ENDPOINT@HOST:PORT`; raises UsageError."""
    binding, separator, rest = text.partition("://")
    match = _ADDRESS.fullmatch(rest)
    if not separator or binding not in BINDINGS or match is None or int(match[3]) > 0xFFFF:  # noqa: PLR2004
        raise UsageError(f"{text!r} is no address: tcp://HOST:PORT or iroh://ENDPOINT@HOST:PORT")
    if (binding == "iroh") != (match[1] is not None):
        raise UsageError(f"{text!r}: iroh:// needs ENDPOINT@ before the host, tcp:// has none")
    return Address(binding, match[2].strip("[]"), int(match[3]), match[1] or "")


async def attach(attachment: Attachment, settings: Settings) -> Target:
    """Reach a target; raises UsageError, and Incomplete where it cannot be reached at all."""
    if attachment.scheme == "node":
        target = await start_node(attachment.location, settings.timeout_scale)
    else:
        address = parse_address(f"{attachment.scheme}://{attachment.location}")
        if not is_loopback(attachment.location) and not settings.writes_are_ok:
            raise UsageError(
                f"{address.host} is not this machine, and tests write documents and tombstones "
                "that a mesh spreads: say --writes-are-ok to go on"
            )
        target = _target(address, read_facts(attachment.facts))
    try:
        require_profile(target.facts)
        await try_once(target, settings.timeout_scale)
    except BaseException:
        await target.close()
        raise
    return target


async def start_node(command: str, scale: float = 1.0) -> Target:
    """A target that is a process of our own; raises Incomplete where it does not come up."""
    process = await node_target.start(command, ready_s=node_target.READY_S * scale)
    try:
        facts = read_facts(process.ready)
        facts = replace(facts, secret_file=facts.secret_file or process.secret_file)
        target = _target(_first_address(facts), facts)
    except BaseException:
        await process.stop()
        raise
    target.node = process
    target.command = command
    target.scale = scale
    return target


def _first_address(facts: Facts) -> Address:
    if not facts.addresses:
        raise Incomplete("the ready line of the node names no address")
    return parse_address(facts.addresses[0])


def _target(address: Address, facts: Facts) -> Target:
    dialler = TcpDialler(address) if address.binding == "tcp" else _iroh().IrohDialler(address)
    return Target(address, facts, dialler, _formation(facts))


def _iroh() -> ModuleType:
    try:
        return importlib.import_module("meshwire_conformance.targets.iroh")
    except ModuleNotFoundError as exc:
        if exc.name != "iroh":
            raise
        raise Incomplete(f"iroh:// needs a package: {install_line('iroh')}") from exc


def _formation(facts: Facts) -> Formation | None:
    if facts.dialect == "open":
        return None
    if facts.dialect != "H1":
        raise Incomplete(f"the target speaks dialect {facts.dialect}; this suite open and H1")
    if facts.secret_file is None:
        raise Incomplete("a target of dialect H1 needs formation_secret_file in its target file")
    return Formation(facts.formation_id, read_secret(facts.secret_file))
