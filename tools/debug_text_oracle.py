"""Hold the debug texts of `oplog/1` against a program in the language of deployed peers.

`debug_text_oracle/` is that program, which cargo builds; its output for the values here is frozen
in `debug_text_oracle/frozen.txt`. Without options the file is written anew, status 2 without cargo;
`--check` writes nothing, builds nothing without cargo, and has status 1 at a difference.
"""

from __future__ import annotations

import argparse
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from oplog_model_texts import content_text

ROOT = Path(__file__).resolve().parents[1]
CRATE = Path(__file__).resolve().parent / "debug_text_oracle"
FROZEN = CRATE / "frozen.txt"
SCRATCH = ROOT / "build" / "debug_text_oracle"
SEED, COUNT, DEPTH = 17, 400, 4
# Every code point up to here stands alone; of the others every one near a change of property.
POINTS = (
    *range(0x250), *range(0x2FF, 0x3A4), *range(0x2000, 0x2070), *range(0xD7FC, 0xD800),
    *range(0xE000, 0xE003), *range(0xFFEE, 0x10010), *range(0xE0100, 0xE0103), 0x10FFFF,
)  # fmt: skip
SURROGATES = range(0xD800, 0xE000)
NUMBERS = (
    0.0, -0.0, 1.0, -1.5, 0.1, 1e-4, 9.9e-5, 1e15, 9999999999999998.0, 1e16, 1e17, 1e21, 1e22,
    5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 123456789.125, 1 / 3, 1e100,
    float("inf"), float("-inf"), float("nan"),
)  # fmt: skip


def number(value: float) -> list[Any]:
    """Return a number as a tree."""
    return ["num", struct.pack(">d", value).hex()]


def trees() -> Iterator[list[Any]]:
    """Yield the values."""
    yield from (["null"], ["bool", True], ["bool", False], ["arr", []], ["obj", []])
    yield from map(number, NUMBERS)
    yield ["str", "".join(map(chr, POINTS))]
    random = Random(SEED)  # noqa: S311 - the same values each time
    yield from (random_tree(random, DEPTH) for _ in range(COUNT))


def random_text(random: Random) -> str:
    """Return a short text, of all of Unicode."""
    points = [random.choice((random.randrange(0x80), random.randrange(0x110000))) for _ in range(4)]
    return "".join(chr(point) for point in points if point not in SURROGATES)


def random_tree(random: Random, depth: int) -> list[Any]:
    """Return a value whose lists and objects are `depth` deep at most."""
    kinds = ("plain", "near", "bits", "str", "arr", "obj")
    match random.choice(kinds if depth else kinds[:-2]):
        case "plain":
            return random.choice((["null"], ["bool", True], ["bool", False]))
        case "near":
            power = 10.0 ** random.randrange(-30, 30)
            return number(random.choice((random.uniform(-1e3, 1e3), power)))
        case "bits":
            return ["num", random.randbytes(8).hex()]
        case "str":
            return ["str", random_text(random)]
        case kind:
            parts = [random_tree(random, depth - 1) for _ in range(random.randrange(DEPTH))]
    if kind == "arr":
        return ["arr", parts]
    return ["obj", [[f"{at}{random_text(random)}", part] for at, part in enumerate(parts)]]


def words(tree: list[Any]) -> str:
    """Return a value as a line for the program."""
    name, *rest = tree
    match name:
        case "num":
            return "n" + str(rest[0])
        case "str":
            return "s" + str(rest[0]).encode().hex()
        case "arr":
            return " ".join([f"a{len(rest[0])}", *map(words, rest[0])])
        case "obj":
            pairs = (f"{words(['str', key])} {words(part)}" for key, part in rest[0])
            return " ".join([f"o{len(rest[0])}", *pairs])
    return "0" if name == "null" else str(rest[0]).lower()[0]


def printed() -> str:
    """Return what the program prints, its Unicode version first; raise OSError without cargo."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise OSError("cargo is not installed")
    command = [cargo, "build", "--quiet", "--offline", "--manifest-path", str(CRATE / "Cargo.toml")]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(SCRATCH)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"cargo: {done.stderr.strip()}")
    asked = "".join(words(tree) + "\n" for tree in trees())
    program = SCRATCH / "debug" / "debug-text-oracle"
    return subprocess.run(
        [program], input=asked, capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout


def differences(text: str) -> list[str]:
    """Return how the model's texts differ from what a program has printed."""
    _, *lines = text.removesuffix("\n").split("\n")
    made = [content_text(tree) for tree in trees()]
    if len(made) != len(lines):
        return [f"{len(lines)} lines, and not {len(made)}"]
    return [
        f"{ours} is not {theirs}"
        for ours, theirs in zip(made, lines, strict=True)
        if ours != theirs
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    text = FROZEN.read_text("utf-8") if options.check else ""
    try:
        new = printed()
    except OSError as exc:
        if not options.check:
            sys.stderr.write(f"debug_text_oracle: {exc}\n")
            return 2
        new = text
    if not options.check:
        FROZEN.write_text(new, "utf-8")
        text = new
    # Another version of Unicode escapes other code points.
    is_other = new.split("\n")[0] == text.split("\n")[0] and new != text
    faults = differences(text) + (["the program prints another text"] if is_other else [])
    for fault in faults:
        sys.stderr.write(f"debug_text_oracle: {fault}\n")
    sys.stdout.write(f"{text.count(chr(10)) - 1} debug texts, {len(faults)} faults\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
