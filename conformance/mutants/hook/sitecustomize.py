"""The import hook that applies rows of the table of mutants to a process and its children.

It is loaded at the start of every interpreter whose PYTHONPATH holds this folder, also of the
document worker that the node starts. MUTANT_ROWS names the rows, separated by commas, and
MUTANT_TABLE a folder of them, if it is not the usual one. Every edited module that is loaded is
written to the file that MUTANT_RECORD names, one name per line. With MUTANT_LOG everything that
the processes write to stderr is appended to the file of that name. With MUTANT_LINES every line of
the node that runs is appended to that file, once for each process.

Python ignores an exception of this module, and one in the loader could pass for the mistake of a
mutant. So either ends the process: with a line on stderr, the same line in the record, and EXIT.
"""

import contextlib
import inspect
import os
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, NoReturn

from mutant_rows import (
    FAULT,
    ROWS,
    Edit,
    RowError,
    apply_edits,
    choose,
    edits_by_module,
    read_rows,
)

EXIT = 70
NODE = f"{os.sep}meshwire_reference{os.sep}"
"""A part of the path of every module of the node."""


class EditingLoader(SourceFileLoader):
    """Loads one module from its source with the edits made; no compiled file is read or written."""

    def __init__(self, name: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(name, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the edited source."""
        try:
            source = apply_edits(Path(self.path).read_text("utf-8"), self._edits)
            code = compile(source, self.path, "exec", dont_inherit=True)
            record(self.name)
        except (RowError, OSError) as exc:
            end(str(exc))
        except SyntaxError as exc:
            end(f"{self.name}: the edited source does not compile: {exc}")
        return code


class EditingFinder(MetaPathFinder):
    """Finds the modules that rows edit, before every other finder."""

    def __init__(self, edits: dict[str, list[Edit]]) -> None:
        self._edits = edits

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module with its edits, or None for any other module."""
        if fullname not in self._edits:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not isinstance(spec.loader, SourceFileLoader):
            end(f"{fullname}: no source of this module is found")
        spec.loader = EditingLoader(fullname, spec.origin, self._edits[fullname])
        spec.cached = None
        return spec


def record(line: str) -> None:
    """Write a line to the record, in one call, since several processes write to it."""
    place = os.environ.get("MUTANT_RECORD")
    if place:
        with Path(place).open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())


def end(reason: str) -> NoReturn:
    """End the process because a row cannot be applied."""
    line = f"mutant rows {os.environ.get('MUTANT_ROWS', '')}: {reason}"
    with contextlib.suppress(OSError):
        record(FAULT + " ".join(line.split()))
    os.write(2, f"{line}\n".encode())
    os._exit(EXIT)


def divert_errors() -> None:
    """Append standard error to the file that MUTANT_LOG names."""
    place = os.environ.get("MUTANT_LOG")
    if place:
        log = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 2)
        os.close(log)


def trace_lines() -> None:
    """Append the lines of the node that run in functions to the file that MUTANT_LINES names.

    At once: most processes are ended by a signal, and run nothing at their end.
    """
    place = os.environ.get("MUTANT_LINES")
    if not place:
        return
    file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    seen: set[tuple[str, int]] = set()

    def at_line(frame: FrameType, event: str, _: Any) -> Any:
        line = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and line not in seen:
            seen.add(line)
            path = line[0].partition(NODE)[2].removesuffix(".py").replace(os.sep, ".")
            os.write(file, f"{path}:{line[1]}\n".encode())
        return at_line

    def at_call(frame: FrameType, _: str, __: Any) -> Any:
        code = frame.f_code
        is_function = bool(code.co_flags & inspect.CO_OPTIMIZED)
        return at_line if is_function and NODE in code.co_filename else None

    sys.settrace(at_call)
    threading.settrace(at_call)


def install() -> None:
    """Install the finder for the rows that the environment names."""
    try:
        divert_errors()
        names = os.environ.get("MUTANT_ROWS", "")
        rows = choose(read_rows(Path(os.environ.get("MUTANT_TABLE") or ROWS), names), names)
    except (RowError, OSError) as exc:
        end(str(exc))
    edits = edits_by_module(rows)
    loaded = sorted(set(edits) & set(sys.modules))
    if loaded:
        end(f"loaded before the hook: {', '.join(loaded)}")
    sys.meta_path.insert(0, EditingFinder(edits))
    trace_lines()


install()
