"""Measure the CPU time of everyday commands, each as a whole with every process that it starts.

`codec suite` is `meshwire check` on the bundled codec. `floor` is the same run on a process that
answers with the lines that the codec gave before, without reading what it is asked. The commands
take turns, each ratio is that of two runs of one turn, and medians are printed. With `--base` the
commands of another checkout take turns with those of this one, in the environment of this one.
"""

import argparse
import os
import resource
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("spec", "reference", "conformance")
CODEC: Final = (sys.executable, "-P", "-m", "meshwire_reference.cli", "codec")
ONE_CASE: Final = "MW-1163"
MILLISECONDS: Final = 1000
ECHO: Final = """
import sys
answers = open(sys.argv[1], "rb")
for _ in sys.stdin.buffer:
    sys.stdout.buffer.write(answers.readline())
    sys.stdout.buffer.flush()
"""
SUITE: Final = "codec suite"
FLOOR: Final = "floor"


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout whose commands are measured, the answers recorded from its codec, and bytecode."""

    folder: Path
    answers: Path
    bytecode: Path

    def run(self, words: Sequence[str]) -> float:
        """Run `meshwire` with these words; returns the CPU time of all its processes in seconds.

        Raises CalledProcessError if it does not pass.
        """
        paths = os.pathsep.join(str(self.folder / name) for name in PACKAGES)
        command = [sys.executable, "-P", "-m", "meshwire_conformance.commands.main", *words]
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONPYCACHEPREFIX": str(self.bytecode)}
        # An installed package has its bytecode; without it every run would compile the sources.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            command,
            check=True,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def record(self) -> None:
        """Run the suite once and keep every answer of the codec."""
        pipe = f"{shlex.join(CODEC)} | tee {shlex.quote(str(self.answers))}"
        self.run(["check", f"stdio:sh -c {shlex.quote(pipe)}"])

    def commands(self) -> Mapping[str, Sequence[str]]:
        """Return the words after `meshwire` of each command, by its name in the output."""
        echo = shlex.join((sys.executable, "-P", "-c", ECHO, str(self.answers)))
        codec = f"stdio:{shlex.join(CODEC)}"
        return {
            SUITE: ("check", codec),
            FLOOR: ("check", f"stdio:{echo}"),
            "one case": ("check", codec, "--only", ONE_CASE),
            "--help": ("--help",),
            "--version": ("--version",),
        }


def measure(checkouts: Sequence[Checkout], rounds: int) -> list[dict[str, list[float]]]:
    """Return the seconds of every round of each command, for each checkout."""
    taken: list[dict[str, list[float]]] = [{} for _ in checkouts]
    for number in range(rounds + 1):
        for name in checkouts[0].commands():
            for checkout, times in zip(checkouts, taken, strict=True):
                used_s = checkout.run(checkout.commands()[name])
                # The first round fills the caches of the file system and of Python.
                if number:
                    times.setdefault(name, []).append(used_s)
    return taken


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Return the median ratio of two runs of one round."""
    return statistics.median(this / that for this, that in zip(these, those, strict=True))


def main() -> None:
    """Print one line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base", type=Path, help="another checkout to compare with")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folders = [ROOT] if options.base is None else [ROOT, options.base.resolve()]
        checkouts = [
            Checkout(folder, Path(name) / f"answers-{number}", Path(name) / f"code-{number}")
            for number, folder in enumerate(folders)
        ]
        for checkout in checkouts:
            checkout.record()
        taken = measure(checkouts, options.rounds)
    for folder, times in zip(folders, taken, strict=True):
        print(f"{folder.name}: CPU time, median of {options.rounds}")
        for command, seconds in times.items():
            line = f"  {command:12} {statistics.median(seconds) * MILLISECONDS:6.0f} ms"
            if folder != folders[-1]:
                line += f", {ratio(seconds, taken[-1][command]):.2f} of {folders[-1].name}"
            print(line)
        print(f"  {SUITE} / {FLOOR}: {ratio(times[SUITE], times[FLOOR]):.2f}")


if __name__ == "__main__":
    main()
