"""Members of a request to the codec harness, read or said to be wrong."""

from meshwire_reference.harness.shapes import read_hex
from meshwire_reference.wire.errors import Unencodable


class BadRequest(Exception):
    """A line that is no request; its text goes back to whoever wrote the line."""


def member_of(request: dict[str, object], name: str) -> object:
    """A member of a request; raises BadRequest where it is missing."""
    if name not in request:
        raise BadRequest(f"{name} is missing")
    return request[name]


def bytes_of(request: dict[str, object], name: str) -> bytes:
    """A member that is lower-case hex; raises BadRequest where it is not."""
    try:
        return read_hex(member_of(request, name), name)
    except Unencodable as fault:
        raise BadRequest(f"{name} is {fault.problem}") from fault


def number_of(request: dict[str, object], name: str) -> int:
    """A member that is a number; raises BadRequest where it is not."""
    value = member_of(request, name)
    if type(value) is not int:
        raise BadRequest(f"{name} is not a number")
    return value
