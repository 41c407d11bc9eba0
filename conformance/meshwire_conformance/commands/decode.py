"""`meshwire decode`: print messages field by field, whatever form they come in."""

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meshwire_conformance.commands.check import wants_colour
from meshwire_conformance.errors import UsageError
from meshwire_conformance.hints import did_you_mean, is_file
from meshwire_conformance.verdicts import ExitCode

if TYPE_CHECKING:
    from meshwire_conformance.explain.parts import InputPart

FILE_MAX = 64 * 2**20
STDIN = "-"


def decode_command(
    source: Annotated[
        str, typer.Argument(metavar="HEX|FILE|-", help="Hex, a file of any form, or - for stdin.")
    ],
    kind: Annotated[
        str | None, typer.Option(help="Kind of message; without it every kind is tried.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show every byte of each field.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Open every entry of a batch, not only the first 1000.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Take the content as bytes, whatever it looks like.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    color: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(help="Colour; auto follows NO_COLOR, FORCE_COLOR and the terminal."),
    ] = "auto",
) -> None:
    """Print every field of messages, payloads opened: offset, bytes, name, value, meaning, rule.

    Reads hex with blanks, colons or 0x, escapes, arrays of C and other languages, dumps of xxd,
    hexdump -C and od, bytes, traces of `check --trace`, and captures (pcap, pcapng) of the lab
    binding; content of another kind is refused. Of a malformed message the fields before the fault
    are printed, then the reason. A message that decodes but that a strict node refuses is marked.

    Exit codes: 0 everything is accepted, without --kind as some kind; 1 something is malformed or
    refused; 2 wrong use, or content of another kind.

    Example: meshwire decode --kind heartbeat '01 0000018bcfe56800'
    """
    _check_kind(kind)
    parts, spelling = read_parts(source, kind, raw=raw)
    if as_json:
        is_accepted = _print_json(parts, spelling, every=every)
    else:
        colour = wants_colour(color, os.environ, sys.stdout)
        is_accepted = _print_parts(parts, spelling, full=full, colour=colour, every=every)
    raise typer.Exit(int(ExitCode.PASSED if is_accepted else ExitCode.VIOLATIONS))


def _check_kind(kind: str | None) -> None:
    """Raise UsageError for a kind that does not exist."""
    from meshwire_spec.numbers import KINDS  # noqa: PLC0415 - beside its only use

    if kind is not None and kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or f"kinds are {', '.join(KINDS)}"
        raise UsageError(f"there is no kind {kind!r}; {hint}")


def _elements_max(*, every: bool) -> int | None:
    """Return how many entries of a batch are opened; None for all."""
    from meshwire_conformance.explain.dissect import ELEMENTS_SHOWN  # noqa: PLC0415 - heavy

    return None if every else ELEMENTS_SHOWN


def _print_json(parts: "list[InputPart]", spelling: str, *, every: bool) -> bool:
    """Print all parts as one JSON object; return True if all are accepted."""
    from meshwire_conformance.explain.decode import json_of  # noqa: PLC0415 - heavy

    found = json_of(parts, spelling, _elements_max(every=every))
    typer.echo(json.dumps(found, indent=1, ensure_ascii=True))
    return bool(found["accepted"])


PLAIN_FORMS = frozenset({"hex", "bytes"})
"""Forms that need no word; any other is named, so that nothing is misread unnoticed."""


def _print_parts(
    parts: "list[InputPart]", spelling: str, *, full: bool, colour: bool, every: bool
) -> bool:
    """Print how the input was read and the lines of each part; return True if all are accepted."""
    from meshwire_conformance.explain.decode import View, part_lines  # noqa: PLC0415 - heavy

    view = View(full=full, colour=colour, elements_max=_elements_max(every=every))
    is_accepted = True
    if spelling not in PLAIN_FORMS:
        typer.echo(f"read as: {spelling}")
    for part in parts:
        lines, part_is_accepted = part_lines(part, view)
        is_accepted = is_accepted and part_is_accepted
        # The only part of plain bytes needs no name.
        for line in lines if part.name else lines[1:]:
            typer.echo(line, color=colour)
    return is_accepted


def read_parts(
    source: str, kind: str | None = None, *, raw: bool = False
) -> "tuple[list[InputPart], str]":
    """Return what a text, a file or standard input consists of, and how it was read.

    Raises UsageError if it is nothing that has messages.
    """
    from meshwire_conformance.explain.hex_dumps import UnreadableInput  # noqa: PLC0415 - beside its only use

    content = content_of(source)
    try:
        if content is None:
            if raw:
                return _of_content(os.fsencode(source), kind, raw=True)
            return _of_text(source, kind)
        return _of_content(content, kind, raw=raw)
    except UnreadableInput as exc:
        where = "standard input" if source == STDIN else f"the file {source}"
        told = str(exc) if content is None else f"{where}: {exc}"
        if content is None and _looks_like_path(source):
            told = f"there is no file {source[:200]!r}, and {told}"
        raise UsageError(told) from exc


def _looks_like_path(source: str) -> bool:
    return "/" in source or "." in source


def content_of(source: str) -> bytes | None:
    """Return the content of a file or of standard input, None if the source is a text itself."""
    if source == STDIN:
        content = sys.stdin.buffer.read(FILE_MAX + 1)
        if len(content) > FILE_MAX:
            raise UsageError(f"standard input is longer than {FILE_MAX} bytes")
        return content
    path = Path(source)
    if not is_file(path) and not _is_pipe(path):
        return None
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX + 1)
    except OSError as exc:
        raise UsageError(f"the file {source} cannot be read: {exc}") from exc
    if len(content) > FILE_MAX:
        raise UsageError(f"the file {source} is longer than {FILE_MAX} bytes")
    return content


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _of_text(text: str, kind: str | None) -> "tuple[list[InputPart], str]":
    from meshwire_conformance.explain.inputs import document_kind  # noqa: PLC0415 - heavy
    from meshwire_conformance.explain.parts import InputPart, parts_of_json  # noqa: PLC0415 - heavy
    from meshwire_conformance.explain.spellings import read_text  # noqa: PLC0415 - as above

    parts = parts_of_json(text)
    if parts is not None:
        return _as_kind(parts, kind), "JSON"
    given = read_text(text)
    return [InputPart("", given.data, kind or document_kind(given.data))], given.spelling


def _as_kind(parts: "list[InputPart]", kind: str | None) -> "list[InputPart]":
    """Return the parts, those whose kind the input does not tell as the kind that was asked for."""
    return [replace(part, kind=part.kind or kind) for part in parts]


def _of_content(content: bytes, kind: str | None, *, raw: bool) -> "tuple[list[InputPart], str]":
    from meshwire_conformance.explain.inputs import (  # noqa: PLC0415 - heavy
        capture_format,
        document_kind,
        read_content,
        text_of,
    )
    from meshwire_conformance.explain.parts import InputPart, parts_of_capture  # noqa: PLC0415 - as above

    if raw or not content:
        return [InputPart("", content, kind or None)], "bytes"
    form = capture_format(content)
    if form is not None:
        return _as_kind(parts_of_capture(form, content), kind), f"{form} capture"
    text = text_of(content)
    if text is not None:
        return _of_text(text, kind)
    given = read_content(content, opens_documents=kind is None)
    return [InputPart("", given.data, kind or document_kind(given.data))], given.spelling
