"""`meshwire decode`: print a message field by field."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from meshwire_conformance.errors import UsageError
from meshwire_conformance.hints import did_you_mean, is_file
from meshwire_conformance.verdicts import ExitCode

FILE_MAX = 64 * 2**20
STDIN = "-"
SEPARATORS = re.compile(r"[\s:]+")


def decode_command(
    source: Annotated[
        str, typer.Argument(metavar="HEX|FILE|-", help="Hex, a file of bytes, or - for stdin.")
    ],
    kind: Annotated[
        str | None, typer.Option(help="Kind of message; without it every kind is tried.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show every byte of each field.")] = False,
) -> None:
    """Print every field of a message: offset, bytes, name, value, meaning and rule.

    Of a malformed message the fields before the fault are printed, then the reason. A message that
    decodes but that a strict node refuses is marked. Hex may have blanks or colons in it and 0x in
    front; a file and standard input may hold the bytes themselves or hex.

    Exit codes: 0 the message is accepted, without --kind as some kind; 1 it is malformed or
    refused; 2 wrong use.

    Example: meshwire decode --kind heartbeat '01 0000018bcfe56800'
    """
    from meshwire_conformance.explain.decode import decode_lines, guess_lines  # noqa: PLC0415 - heavy
    from meshwire_spec.numbers import KINDS  # noqa: PLC0415 - beside its only use

    if kind is not None and kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or f"kinds are {', '.join(KINDS)}"
        raise UsageError(f"there is no kind {kind!r}; {hint}")
    data = read_bytes(source)
    lines, stands = (
        guess_lines(data, full=full) if kind is None else decode_lines(kind, data, full=full)
    )
    for line in lines:
        typer.echo(line)
    raise typer.Exit(int(ExitCode.PASSED if stands else ExitCode.VIOLATIONS))


def read_bytes(source: str) -> bytes:
    """Return the bytes of a hex text, a file or standard input (`-`).

    Raises UsageError if the text is neither hex nor the path of a readable file.
    """
    if source == STDIN:
        return _bytes_of(sys.stdin.buffer.read(FILE_MAX))
    path = Path(source)
    if is_file(path):
        if path.stat().st_size > FILE_MAX:
            raise UsageError(f"the file {source} is longer than {FILE_MAX} bytes")
        try:
            content = path.read_bytes()
        except OSError as exc:
            raise UsageError(f"the file {source} cannot be read: {exc}") from exc
        return _bytes_of(content)
    data = _hex(source)
    if data is None:
        raise UsageError(f"{source[:60]!r} is neither hex nor a file")
    return data


def _bytes_of(content: bytes) -> bytes:
    """Return the bytes that the content of a file gives: decoded if it is hex, else as they are."""
    found = _hex(content.decode("ascii", errors="replace")) if content else None
    return content if found is None else found


def _hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(SEPARATORS.sub("", text).removeprefix("0x").removeprefix("0X"))
    except ValueError:
        return None
