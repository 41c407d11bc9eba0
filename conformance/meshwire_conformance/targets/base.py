"""Ways to attach to a target: one module per scheme, and the table of schemes."""

import ipaddress
import shlex
from collections.abc import Mapping

from meshwire_conformance.contracts import Attachment
from meshwire_conformance.errors import UsageError

PARTS: Mapping[str, str] = {
    "stdio": "meshwire_conformance.codec_suite.part",
    "tcp": "meshwire_conformance.socket_suite.part",
    "node": "meshwire_conformance.socket_suite.part",
    "iroh": "meshwire_conformance.socket_suite.part",
}
"""Which part of the suite runs over each scheme: a module with a function `run`."""

FORMS = "tcp://HOST:PORT, iroh://ENDPOINT@HOST:PORT, stdio:COMMAND or node:COMMAND"


def parse_target(text: str) -> Attachment:
    """Attachment of a target as typed; raises UsageError for what is none."""
    scheme, separator, location = text.partition(":")
    if not separator or scheme not in PARTS:
        raise UsageError(f"{text!r} is no target: expected {FORMS}")
    if scheme in ("tcp", "iroh"):
        if not location.startswith("//") or ":" not in location:
            raise UsageError(f"{text!r} is no target: expected {FORMS}")
        location = location[2:]
    if not location.strip():
        raise UsageError(f"{text!r} names no target: expected {FORMS}")
    return Attachment(scheme=scheme, location=location, text=text, command=_quoted(text))


def is_loopback(location: str) -> bool:
    """Whether `HOST:PORT`, perhaps behind `ENDPOINT@`, stays on this machine."""
    host = location.rpartition("@")[2].rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _quoted(text: str) -> str:
    """The target for a shell; in double quotes where it has quoted words and nothing worse."""
    if "'" in text and not set(text) & set('"$`\\!'):
        return f'"{text}"'
    return shlex.quote(text)
