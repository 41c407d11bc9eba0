"""The schemes of targets, and the attachment that a text or target file names."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.extras import install_line
from meshwire_conformance.hints import did_you_mean, is_file
from meshwire_conformance.targets.hosts import (
    addresses_of,
    host_of,
    in_address,
    is_ip,
    is_loopback,
)

if TYPE_CHECKING:
    from meshwire_conformance.targets.transport import Address, Dialler


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to attach.

    `form` is the form of the text, `part` the name of the part of the suite that runs over it
    (`run.parts`). A scheme whose addresses the suite dials has a `dialler`: a function that imports
    the module of the transport and returns what dials an address. With `names_endpoint` an address
    begins with ENDPOINT@, with `may_name_endpoint` it may. `has_address` is True for a scheme with
    an address that has no dialler.
    """

    form: str
    part: str
    dialler: Callable[[Address], Dialler] | None = None
    names_endpoint: bool = False
    may_name_endpoint: bool = False
    has_address: bool = False


@contextmanager
def needed_for(scheme: str, extra: str, package: str) -> Iterator[None]:
    """Raise Incomplete, with the line that installs it, if the package is not there."""
    try:
        yield
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != package:
            raise
        raise Incomplete(f"{scheme}:// needs a package: {install_line(extra)}") from exc


def _tcp(address: Address) -> Dialler:
    from meshwire_conformance.targets.tcp import TcpDialler  # noqa: PLC0415 - a row of SCHEMES

    return TcpDialler(address)


def _quic(address: Address) -> Dialler:
    with needed_for("quic", "quic", "aioquic"):
        from meshwire_conformance.targets.quic import QuicDialler  # noqa: PLC0415 - an extra
    return QuicDialler(address)


def _iroh(address: Address) -> Dialler:
    with needed_for("iroh", "iroh", "iroh"):
        from meshwire_conformance.targets.iroh import IrohDialler  # noqa: PLC0415 - an extra
    return IrohDialler(address)


CONTROL_HERE = "{control}"
"""What the suite replaces in the command of a node by the path of a socket, of each start another.
"""
MESH_HERE = "{mesh}"
"""What it replaces by the folder of a new mesh, whose genesis it has written."""
LISTENING: Mapping[str, str] = {"tcp-listen": "tcp", "quic-listen": "quic"}
"""Schemes of a target that dials the suite, and the transport over which it does."""
SCHEMES: Mapping[str, Scheme] = {
    "tcp": Scheme("tcp://HOST:PORT", "socket", _tcp),
    "tcp-listen": Scheme("tcp-listen://HOST:PORT[,PORT...]", "socket", has_address=True),
    "quic": Scheme("quic://[ENDPOINT@]HOST:PORT", "socket", _quic, may_name_endpoint=True),
    "quic-listen": Scheme("quic-listen://HOST:PORT[,PORT...]", "socket", has_address=True),
    "iroh": Scheme("iroh://ENDPOINT@HOST:PORT", "socket", _iroh, names_endpoint=True),
    "stdio": Scheme("stdio:COMMAND", "codec"),
    "node": Scheme("node:COMMAND", "socket"),
    "ws": Scheme("ws://HOST:PORT/crdt-sync", "oplog", has_address=True),
    "wss": Scheme("wss://HOST:PORT/crdt-sync", "oplog", has_address=True),
    "oplog-node": Scheme("oplog-node:COMMAND", "oplog"),
}
"""Every way to attach, by scheme; a new transport is a module and a row."""


def _either(forms: list[str]) -> str:
    return f"{', '.join(forms[:-1])} or {forms[-1]}"


FORMS = _either([scheme.form for scheme in SCHEMES.values()])
ADDRESS_FORMS = _either([scheme.form for scheme in SCHEMES.values() if scheme.dialler])


def parse_target(text: str) -> Attachment:
    """Return the attachment that a text names; raises UsageError for any other text."""
    name, separator, location = text.partition(":")
    scheme = SCHEMES.get(name)
    if not separator or scheme is None:
        raise UsageError(f"{text!r} is no target: {_meant(text) or f'expected {FORMS}'}")
    if scheme.dialler is not None or scheme.has_address:
        if not location.startswith("//"):
            hint = (
                f"did you mean {name}://{location.lstrip('/')}?"
                if location.strip("/")
                else scheme.form
            )
            raise UsageError(f"{text!r} is no target: {hint}")
        location = location[2:]
        if location and ":" not in location:
            raise UsageError(f"{text!r} is no address: the port is missing")
    if not location.strip():
        raise UsageError(f"{text!r} names no target: expected {scheme.form}")
    return Attachment(scheme=name, location=location, text=text, command=_quoted(text))


def _meant(text: str) -> str:
    """Return what a text without a known scheme may have meant, or an empty text."""
    name, separator, location = text.partition(":")
    if name.lower() in SCHEMES and separator:
        return f"did you mean {name.lower()}:{location}?"
    if is_file(text):
        path = text if "/" in text else f"./{text}"
        return f"did you mean {_quoted(f'stdio:{shlex.quote(path)}')}?"
    forms = {known: scheme.form for known, scheme in SCHEMES.items()}
    return did_you_mean(name, forms) if separator else ""


def demand_permission(address: str, settings: Settings) -> None:
    """Raise UsageError if an address is off this machine and writes there were not allowed.

    A name other than `localhost` is looked up only to say what to do: what is dialled later may be
    another address.
    """
    location = address.partition("://")[2]
    if is_loopback(location) or settings.writes_are_ok:
        return
    host = host_of(location)
    found = [host] if is_ip(host) else addresses_of(host)
    if all(is_loopback(f"{in_address(one)}:0") for one in found):
        raise UsageError(
            f"{address} is on loopback by a name that may change: write {in_address(found[0])} "
            "instead"
        )
    raise UsageError(
        f"{address} is not on loopback, and the suite writes documents and deletions "
        "that a mesh spreads: add --writes-are-ok"
    )


def _quoted(text: str) -> str:
    """Return the target quoted for a shell, in double quotes if it contains single ones."""
    if "'" in text and not set(text) & set('"$`\\!'):
        return f'"{text}"'
    return shlex.quote(text)
