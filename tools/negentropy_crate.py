"""The Rust crate `negentropy` as a process of its own, to hold the reference against.

The process is built by cargo from `bench/negentropy_rs` into the folder `build`, which is not
committed. What crosses its pipes is described at the top of its `main.rs`.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import IO, Final, Self

from negentropy_sets import Item, Outcome

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "tools" / "bench" / "negentropy_rs"
BUILD: Final = ROOT / "build" / "negentropy_rs"
VERSION: Final = "0.5.3"

ITEM: Final = Struct("<Q32s")
LIMITS: Final = Struct("<QQ")
COUNT: Final = Struct("<I")
ID: Final = 32


def build_peer() -> Path | None:
    """Build the process and return its path, None where there is no cargo."""
    cargo = shutil.which("cargo")
    if cargo is None:
        return None
    # The lock file and the target folder belong to the copy.
    shutil.copytree(SOURCE, BUILD, dirs_exist_ok=True)
    subprocess.run([cargo, "build", "--release", "--quiet"], cwd=BUILD, check=True)
    return BUILD / "target" / "release" / "negentropy_peer"


def pack_items(items: Sequence[Item]) -> bytes:
    """Return items as the process reads them."""
    return b"".join(ITEM.pack(timestamp, identity) for timestamp, identity in items)


def read_block(stream: IO[bytes], scale: int = 1) -> bytes:
    """Read a count and as many pieces of `scale` bytes; raises EOFError where they end early."""
    (count,) = COUNT.unpack(read_exactly(stream, COUNT.size))
    return read_exactly(stream, count * scale)


def read_exactly(stream: IO[bytes], size: int) -> bytes:
    """Read exactly `size` bytes; raises EOFError where they end early."""
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("the process of the crate ended")
    return content


def read_outcome(stream: IO[bytes]) -> Outcome:
    """Read the answer to one case."""
    (count,) = COUNT.unpack(read_exactly(stream, COUNT.size))
    messages = [read_block(stream) for _ in range(count)]
    have, need = read_block(stream, ID), read_block(stream, ID)
    return Outcome(messages, split_ids(have), split_ids(need))


def split_ids(content: bytes) -> list[bytes]:
    """Return the ids in a concatenation of ids."""
    return [content[at : at + ID] for at in range(0, len(content), ID)]


class CratePeer:
    """A running process of the crate; use it in a `with` statement."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program), "fuzz"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self._process.communicate()

    def run(self, limits: tuple[int, int], ours: Sequence[Item], theirs: Sequence[Item]) -> Outcome:
        """Let the crate reconcile two sets with itself; limits of client and server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        parts = [LIMITS.pack(*limits)]
        for items in (ours, theirs):
            parts += (COUNT.pack(len(items)), pack_items(items))
        self._process.stdin.write(b"".join(parts))
        self._process.stdin.flush()
        return read_outcome(self._process.stdout)
