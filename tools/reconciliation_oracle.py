"""The crate `negentropy` as an independent implementation: built by cargo, with a line protocol.

This module starts the program of `negentropy_oracle/` for the generator of vectors, the fuzzer and
the benchmark, and knows nothing of vectors.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
CRATE = Path(__file__).resolve().parent / "negentropy_oracle"
SCRATCH = ROOT / "build" / "negentropy_oracle"
PINNED = re.compile(r'^negentropy = "=([0-9.]+)"$', re.MULTILINE)


class CrateFault(Exception):
    """The program cannot be built, or does not answer."""


@dataclass(frozen=True, slots=True)
class CrateAnswer:
    """The crate's answer to a message: an error in its words, or a reply and the ids found."""

    error: str = ""
    reply: bytes | None = None
    have: tuple[bytes, ...] = ()
    need: tuple[bytes, ...] = ()


def crate_name() -> str:
    """Return name and version of the crate, as a vector states its source."""
    found = PINNED.search((CRATE / "Cargo.toml").read_text(encoding="utf-8"))
    if found is None:
        raise CrateFault("Cargo.toml pins no version of negentropy")
    return f"negentropy crate {found[1]}"


def build() -> Path:
    """Return the program, built if necessary; raises CrateFault without cargo."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise CrateFault("cargo is not installed")
    manifest = str(CRATE / "Cargo.toml")
    words = [cargo, "build", "--release", "--quiet", "--manifest-path", manifest]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(SCRATCH)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CrateFault(f"cargo: {done.stderr.strip()}")
    return SCRATCH / "release" / "negentropy-oracle"


class Oracle:
    """The running program; sessions are numbers, freed by `forget`."""

    def __init__(self, program: Path) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def open(self, items: Iterable[tuple[int, bytes]], limit: int) -> int:
        """Open a session over these items and return its number; `limit` in bytes, 0 for none."""
        lines = [f"item {timestamp} {name.hex()}" for timestamp, name in items]
        return int(self._ask("\n".join([*lines, f"open {limit}"]))[1])

    def initiate(self, session: int) -> bytes:
        """Return the first message of a client."""
        return bytes.fromhex(self._ask(f"initiate {session}")[1])

    def reconcile(self, session: int, message: bytes) -> CrateAnswer:
        """Return the answer of a session to a message."""
        words = self._ask(f"reconcile {session} {message.hex()}")
        if words[0] == "error":
            return CrateAnswer(error=" ".join(words[1:]))
        reply = None if words[1] == "-" else bytes.fromhex(words[1])
        return CrateAnswer("", reply, _ids(words[2]), _ids(words[3]))

    def forget(self) -> None:
        """Drop every session."""
        self._ask("forget")

    def _ask(self, line: str) -> Sequence[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        words = self._process.stdout.readline().split()
        if not words:
            raise CrateFault("the oracle has ended")
        if words[0] == "error" and not line.startswith("reconcile"):
            raise CrateFault(" ".join(words))
        return words


def _ids(text: str) -> tuple[bytes, ...]:
    return () if text == "-" else tuple(bytes.fromhex(name) for name in text.split(","))
