"""The codec harness over stdin and stdout: one JSON object per line, requests in a pipeline.

Requests are written while answers are read, so that full pipes cannot block both sides. A
conversation ends in one of four ways and never raises, because the target is what is judged.
"""

import asyncio
import codecs
import contextlib
import json
import os
import re
import shlex
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from meshwire_conformance.contracts import TraceLine
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.hints import is_file, is_folder
from meshwire_conformance.targets import children

LINE_MAX = 64 * 2**20
"""Size in bytes from which an answer is a flood; the longest correct one is far below."""
GARBAGE_MAX = 1000
"""Number of lines without an answer from which output is a flood."""
KEPT_MAX = 64 * 2**20
LONG = 2**14
"""Size in bytes to which answers are kept once one process has sent KEPT_MAX bytes.

All correct answers to the whole suite are a thirtieth of KEPT_MAX.
"""
STDERR_LINES = 12
"""Last lines of standard error that are kept and shown, empty ones left out.

A stack trace of ten lines fits with the error before it and the version of the interpreter.
"""
CLOSE_S = 5.0
"""Seconds that the process may take to end after its input or output was closed."""
GRACE_S = 2.0
"""Seconds to wait for the answer to a lone request after a line that is no answer."""
_PATH = r"(?:[A-Za-z]:\\|\\\\)"
_PIECES = re.compile(
    rf"""(?<![^\s=])(?P<bare>{_PATH}[^\s"']*)|(?<![^\s=])"(?P<quoted>{_PATH}[^"]*)\""""
    r"""|'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^'"\\]+?""",
    re.DOTALL,
)
"""A path of Windows at the start of a word or of a value, and what may hold one: a quoted text."""
_SETTING = re.compile(r"[A-Za-z_]\w*=")
_OF_A_SHELL = re.compile(r"[0-9]?[<>].*|&>.*|[|&]+|~/.*|[^\\'\"]*;", re.DOTALL)
"""A redirection, a pipe, a home folder or the end of a command."""
BYTE_ORDER_MARK = "a byte order mark in front"
"""The one fault of an answer that leaves its meaning clear."""
LEFT_MAX = 2**16
"""Bytes read after the last answer."""


class Ending(StrEnum):
    """How a conversation ended."""

    ANSWERED = "answered"
    DIED = "died"
    HUNG = "hung"
    FLOODED = "flooded"


@dataclass(slots=True)
class Replies:
    """Answers by request id, the lines that were no answers, and how the conversation ended.

    `disorder` has one line for each answer that overtook the answer to an earlier request. `loose`
    has each answer that is no strict JSON, after its fault; those in `void` have no members, since
    the fault leaves their meaning open. `foreign` has the lines of `garbage` that have the form of
    an answer, each with its id, which is no number. `unended` counts the bytes after the last line
    feed.
    """

    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    garbage: list[str] = field(default_factory=list)
    foreign: list[tuple[str, object]] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)
    void: dict[int, str] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    ending: Ending = Ending.ANSWERED
    detail: str = ""
    unended: int = 0


def command_of(text: str) -> list[str]:
    """Return the words of a command line, as a shell splits it; a path of Windows is left as it is.

    Raises UsageError for unbalanced quotes or no words.
    """
    try:
        words = shlex.split(_PIECES.sub(_protected, text))
    except ValueError as exc:
        raise UsageError(f"the command {text!r} cannot be parsed: {exc}") from exc
    if not words:
        raise UsageError("the command is empty")
    if sign := _sign_of_a_shell(text):
        raise UsageError(f"{sign!r}: no shell runs this command: use sh -c '...'")
    return words


def _sign_of_a_shell(text: str) -> str:
    """Return the first word that only a shell understands, or an empty text."""
    try:
        # Without `posix` the quotes stay, so that a word in quotes is none of these.
        words = shlex.split(text, posix=False)
    except ValueError:
        return ""
    if words and _SETTING.match(words[0]):
        return words[0]
    return next((word for word in words if _OF_A_SHELL.fullmatch(word)), "")


def _protected(piece: re.Match[str]) -> str:
    """Return a path of Windows in quotes, and any other piece of a command line as it is."""
    path = piece["bare"] or piece["quoted"]
    return shlex.quote(path) if path else piece[0]


def _unstarted(program: str, why: Exception) -> str:
    """Return the error for a program that cannot be started, with its cause and what to do."""
    if isinstance(why, PermissionError) and is_folder(program):
        return f"{program!r} cannot be started: it is a folder; name the program in it"
    said = f"{program!r} cannot be started: {getattr(why, 'strerror', None) or why}"
    if not is_file(program):
        return said
    path = shlex.quote(program if "/" in program else f"./{program}")
    if os.access(program, os.X_OK):
        # Only a path is looked for in the current folder.
        return said if "/" in program else f"{said}; did you mean {path}?"
    runner = "python3" if program.endswith(".py") else "sh"
    return f"{said}; chmod +x {path}, or {runner} {path}"


async def start_program(
    words: Sequence[str],
    *,
    line_max: int,
    stdin: int = PIPE,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start a command as `children.start` does; raises Incomplete if it cannot be started."""
    try:
        return await children.start(words, line_max=line_max, stdin=stdin, environment=environment)
    except (OSError, ValueError) as exc:
        raise Incomplete(_unstarted(words[0], exc)) from exc


class Harness:
    """One process that speaks the codec harness; `converse` as often as needed, then `close`."""

    def __init__(self, command: str, answer_s: float, total_s: float, trace: TraceLine) -> None:
        self._words = command_of(command)
        self.answer_s = answer_s
        """Seconds that the answer to one request may take."""
        self._total_s = total_s
        self._trace = trace
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._drain: asyncio.Task[None] | None = None
        self._came = 0
        self._halves: set[int] = set()
        """Requests with an escape that some readers of JSON refuse with the whole line."""
        self.left: list[str] = []
        """Lines after the last answer; known once the process is closed."""

    async def start(self) -> None:
        """Start the process; raises Incomplete if the command cannot be run."""
        self._process = await start_program(self._words, line_max=LINE_MAX)
        self._drain = asyncio.create_task(self._read_stderr(self._process))

    @property
    def stderr(self) -> tuple[str, ...]:
        """The last lines that the process wrote to stderr."""
        return tuple(self._stderr)

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(65536):
            lines = chunk.decode(errors="replace").splitlines()
            self._stderr.extend(line for line in lines if line.strip())

    async def converse(
        self, requests: Mapping[int, str], *, start_s: float | None = None
    ) -> Replies:
        """Write every request and read until each is answered or the conversation ends.

        `start_s` is given for the first request: the seconds that the process may take to start and
        to answer it, with or without a banner.
        """
        assert self._process is not None
        writing = asyncio.create_task(self._write(self._process, requests))
        conversation = Replies()
        try:
            async with asyncio.timeout(self._total_s):
                waiting = dict.fromkeys(requests)
                self._halves = {number for number, line in requests.items() if _has_half(line)}
                await self._read(self._process, waiting, conversation, start_s)
        except TimeoutError:
            conversation.ending = Ending.HUNG
            conversation.detail = f"not done after {self._total_s:g} s"
        finally:
            await cancelled(writing)
        return conversation

    async def _write(
        self, process: asyncio.subprocess.Process, requests: Mapping[int, str]
    ) -> None:
        assert process.stdin is not None
        # A target that stops reading or dies shows on the reading side, with a deadline.
        with contextlib.suppress(ConnectionError):
            for request in requests.values():
                self._trace({"sent": request[:4096]})
                process.stdin.write(request.encode())
                process.stdin.write(b"\n")
                await process.stdin.drain()

    async def _read(
        self,
        process: asyncio.subprocess.Process,
        waiting: dict[int, None],
        found: Replies,
        start_s: float | None,
    ) -> None:
        assert process.stdout is not None
        answer_s = self.answer_s if start_s is None else start_s
        while waiting:
            spoilt = _is_spoilt(found, waiting, is_first=start_s is not None)
            patience_s = min(GRACE_S, answer_s) if spoilt else answer_s
            try:
                async with asyncio.timeout(patience_s):
                    line = await process.stdout.readline()
            except TimeoutError:
                if _is_answered_badly(found, waiting):
                    return
                found.ending = Ending.HUNG
                found.unended = len(await _pending(process.stdout))
                found.detail = f"no answer within {answer_s:g} s{_said_of(found.unended)}"
                return
            except ValueError:
                found.ending = Ending.FLOODED
                found.detail = f"a line of more than {LINE_MAX} bytes"
                return
            if not line.endswith(b"\n"):
                if _is_answered_badly(found, waiting):
                    return
                found.ending = Ending.DIED
                found.unended = len(line)
                found.detail = await self._farewell(process, _said_of(found.unended))
                return
            if not self._take(line, waiting, found):
                return

    def _take(self, line: bytes, waiting: dict[int, None], found: Replies) -> bool:
        """Record one line; return False if too many lines are no answers."""
        self._trace({"received": line[:4096].decode(errors="replace")})
        answer, fault = _object_of(line)
        number = answer.get("id") if answer is not None else None
        if answer is not None and number is None and "error" in answer:
            # CH-021
            number = next((one for one in waiting if one in self._halves), None)
        if answer is not None and type(number) is int and number in waiting:
            first = next(iter(waiting))
            if number != first and len(found.disorder) < GARBAGE_MAX:
                found.disorder.append(f"the answer to {number} came before that to {first}")
            del waiting[number]
            if fault:
                found.loose.append(f"{fault}: {line[:200].decode(errors='replace').rstrip()}")
            if fault and fault != BYTE_ORDER_MARK:
                found.void[number] = fault
                answer = {"id": number}
            self._came += len(line)
            # An answer without its members counts as a wrong answer.
            is_too_much = self._came > KEPT_MAX and len(line) > LONG
            found.answers[number] = {"id": number} if is_too_much else answer
            return True
        found.garbage.append(line[:200].decode(errors="replace").rstrip("\n"))
        if answer is not None and answer.keys() & {"result", "error"} and type(number) is not int:
            found.foreign.append((found.garbage[-1], number))
        if len(found.garbage) < GARBAGE_MAX:
            return True
        found.ending = Ending.FLOODED
        found.detail = f"{GARBAGE_MAX} lines that answer nothing"
        return False

    async def _farewell(self, process: asyncio.subprocess.Process, said: str) -> str:
        """Return how the process ended in one line, and below it its last lines on stderr."""
        try:
            async with asyncio.timeout(CLOSE_S):
                code = await process.wait()
        except TimeoutError:
            return f"it closed its output{said}"
        if self._drain is not None:
            await asyncio.wait([self._drain], timeout=GRACE_S)
        if not self._stderr:
            return f"it ended with {code}{said}"
        last = [f"  {line[:200]}" for line in self._stderr]
        return "\n".join([f"it ended with {code}{said}, and wrote last on stderr:", *last])

    async def close(self) -> None:
        """End the process group: first by closing the input, then by a signal."""
        await self._end(CLOSE_S)

    async def abort(self) -> None:
        """End the process group at once."""
        await self._end(0.0)

    async def _end(self, grace_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        has_ended = False
        try:
            async with asyncio.timeout(grace_s):
                await self._read_left(process)
                has_ended = True
        except TimeoutError:
            pass
        finally:
            # After a hang or an interrupt the process gets no grace.
            await children.end(process, grace_s if has_ended else 0.0)
        if self._drain is not None:
            await cancelled(self._drain)

    async def _read_left(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        left = b""
        while len(left) < LEFT_MAX and (chunk := await process.stdout.read(LEFT_MAX)):
            left += chunk
            self.left = [line[:200].decode(errors="replace") for line in left.splitlines()]


async def _pending(stream: asyncio.StreamReader) -> bytes:
    """Return the bytes that have come and end no line."""
    try:
        async with asyncio.timeout(0.0):
            return await stream.read(LEFT_MAX)
    except TimeoutError:
        return b""


def _has_half(line: str) -> bool:
    """Return True if a request has a text with one half of a surrogate pair."""
    if "\\ud" not in line:
        return False
    try:
        json.dumps(json.loads(line), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _said_of(unended: int) -> str:
    return f"; {unended} bytes came without a line feed at their end" if unended else ""


def _is_answered_badly(found: Replies, waiting: Mapping[int, None]) -> bool:
    """Return True if a line came after a lone request: its answer, as nothing else was asked."""
    return bool(found.garbage) and not found.answers and len(waiting) == 1


def _is_spoilt(found: Replies, waiting: Mapping[int, None], *, is_first: bool) -> bool:
    """Return True if a further line is worth a short wait only.

    Before the answer to the first request any line without the members of an answer may be a
    banner, however long the answer takes.
    """
    if not _is_answered_badly(found, waiting):
        return False
    last = found.garbage[-1].lstrip()
    is_answer = last.startswith("{") and ('"result"' in last or '"error"' in last)
    return is_answer or not is_first


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end; a cancellation of the caller is raised."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


class _Loose(Exception):
    """A text that a lenient reader takes for JSON."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Loose(f"`{next(name for name in names if names.count(name) > 1)}` twice")
    return members


def _refuse_constant(name: str) -> Any:
    raise _Loose(f"{name} is no JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_refuse_constant)


# CH-020
def _object_of(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """Return the object of a line, None if it is none, and why it is no strict JSON."""
    try:
        answer, fault = _parsed(line)
        # A lone surrogate arrives as its escape.
        if not line.isascii() or b"\\u" in line:
            answer = _whole(answer)
    except (ValueError, RecursionError):
        return None, ""
    return (answer, fault) if isinstance(answer, dict) else (None, "")


def _parsed(line: bytes) -> tuple[Any, str]:
    """Return the value of a line and its fault; raises ValueError if it is no JSON at all."""
    fault = BYTE_ORDER_MARK if line.startswith(codecs.BOM_UTF8) else ""
    plain = line.removeprefix(codecs.BOM_UTF8)
    try:
        return _STRICT.decode(plain.decode()), fault
    except _Loose as exc:
        fault = str(exc)
    except UnicodeDecodeError as exc:
        fault = f"not UTF-8 at byte {exc.start}"
    return json.loads(plain.decode(errors="replace")), fault


def strict_json(line: bytes) -> Any:
    """Return the value of a line; raises ValueError if it is no strict JSON."""
    value, fault = _parsed(line)
    if fault:
        raise ValueError(fault)
    return value


def _whole(value: Any) -> Any:
    """Return the value with every lone surrogate written as its number.

    A text with one cannot be encoded.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_whole(name): _whole(member) for name, member in value.items()}
    return [_whole(member) for member in value] if isinstance(value, list) else value
