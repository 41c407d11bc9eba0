"""`meshwire new-adapter`: a codec to begin with, in a language of choice."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from meshwire_conformance.catalogue.data_files import PACKAGE
from meshwire_conformance.errors import UsageError

SUFFIX = ".txt"
"""Ending of the files in the package, so that no tool takes them for sources of the suite."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The command that builds an adapter in its folder, if one is needed, and its program."""

    build: str
    program: str


SKELETONS: Mapping[str, Skeleton] = {
    "python": Skeleton("", "python3 codec.py"),
    "go": Skeleton("go build -o codec .", "./codec"),
    "rust": Skeleton("cargo build --release", "./target/release/codec"),
    "javascript": Skeleton("", "node codec.mjs"),
    "c": Skeleton("cc -O2 -o codec codec.c", "./codec"),
}
"""Every language that there is a skeleton for."""


def new_adapter_command(
    language: Annotated[
        Literal["python", "go", "rust", "javascript", "c"],
        typer.Argument(metavar="LANGUAGE", help=f"One of {', '.join(SKELETONS)}."),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; new or empty.")],
) -> None:
    """Write a codec that passes its first cases: the loop of the harness, and heartbeats.

    It says the command that checks it, and the page to read next.

    Example: meshwire new-adapter go my-codec
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty; give a new folder")
    origin = PACKAGE / "skeletons" / language
    try:
        for file in sorted(origin.rglob(f"*{SUFFIX}")):
            path = folder / file.relative_to(origin).with_suffix("")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
            typer.echo(f"wrote {path}")
    except OSError as exc:
        raise UsageError(f"{folder} cannot be written: {exc}") from exc
    for line in _next_lines(SKELETONS[language], folder):
        typer.echo(line)


def _next_lines(skeleton: Skeleton, folder: Path) -> list[str]:
    steps = [f"cd {shlex.quote(str(folder))}", skeleton.build]
    check = f'meshwire check "stdio:{skeleton.program}" --kind heartbeat'
    commands = " && ".join(step for step in (*steps, check) if step)
    return [
        f"next: {commands}",
        "then add the other kinds in the order of the page Build one (spec/16-build-one.md)",
    ]
