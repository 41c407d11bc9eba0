"""Build the wheel, install it alone in a clean environment and run it outside the checkout.

The first half has the base dependencies only; the second adds the extra `node` and runs a share
of the check on the bundled node in each of its dialects: `make check-full` runs the rest. Every
command is printed with its time; the first that fails ends the run.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A heartbeat: marker 1 and a time whose bytes are all different.
HEARTBEAT = "010000018bcfe56801"
# Variables that would let the clean environment reach the checkout or another environment.
LEAKS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_USER")
# Folders of the checkout and where the wheel has them; loaders read the packaged copy first.
DATA = {
    "vectors": "meshwire_conformance/_vectors",
    "conformance/ledgers": "meshwire_conformance/_ledgers",
}
# Cases in every dialect of the bundled node, over its control socket, and of `oplog/1`.
SHARE = ("HS-01*", "LV-*", "BT-01*", "MW-895*")
DEADLINE_S = 300.0
TAIL_LINES = 30
BLOCKS_MAX = 10


class WheelFaultError(Exception):
    """A step failed; its text is the line that is printed."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment and the folder, outside the checkout, that commands run in."""

    folder: Path
    work: Path

    @property
    def binaries(self) -> Path:
        """Return the folder of the environment's commands."""
        return self.folder / "bin"

    def variables(self, outside: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a process: `outside` without leaks, our commands first."""
        kept = {name: value for name, value in outside.items() if name not in LEAKS}
        return kept | {
            "PATH": f"{self.binaries}{os.pathsep}{outside.get('PATH', os.defpath)}",
            "NO_COLOR": "1",
            "PYTHONSAFEPATH": "1",
        }

    def run(self, *command: str, expects: Sequence[str] = ()) -> str:
        """Run a command to its end, print it, and return what it wrote.

        Raises WheelFaultError when it fails, takes too long or leaves out an expected text.
        """
        shown = shlex.join((Path(command[0]).name, *command[1:])).replace(str(self.work), ".")
        started = time.monotonic()
        try:
            done = subprocess.run(
                command,
                cwd=self.work,
                env=self.variables(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE_S,
                check=False,
            )
        except FileNotFoundError as exc:
            message = f"`{shown}`: the wheel installs no such command"
            raise WheelFaultError(message) from exc
        except subprocess.TimeoutExpired as exc:
            message = f"`{shown}` did not end within {DEADLINE_S:.0f} s"
            raise WheelFaultError(message) from exc
        output = done.stdout.decode("utf-8", "replace")
        print(f"  {time.monotonic() - started:6.1f} s  {shown}", flush=True)
        if done.returncode != 0:
            show_failure(output.splitlines())
            message = f"`{shown}` ended with exit code {done.returncode}"
            raise WheelFaultError(message)
        for text in expects:
            if text not in output:
                message = f"`{shown}` did not print {text!r}"
                raise WheelFaultError(message)
        return output

    def install(self, constraints: Path, *requirements: str) -> None:
        """Install requirements at the pinned versions."""
        python = str(self.binaries / "python")
        options = ("--quiet", "--disable-pip-version-check", "-c", str(constraints))
        self.run(python, "-m", "pip", "install", *options, *requirements)

    def command(self, name: str) -> str:
        """Return the absolute path of one of the environment's commands."""
        return str(self.binaries / name)


def show_failure(lines: Sequence[str]) -> None:
    """Print the failures that a check has reported, whole, and the end of all other lines."""
    blocks: list[list[str]] = []
    others: list[str] = []
    is_inside_block = False
    for line in lines:
        if line.startswith("FAIL "):
            is_inside_block = True
            blocks.append([])
        elif line and not line.startswith("  "):
            is_inside_block = False
        (blocks[-1] if is_inside_block else others).append(line)
    shown = [line for block in blocks[:BLOCKS_MAX] for line in block]
    if len(blocks) > BLOCKS_MAX:
        shown.append(f"and {len(blocks) - BLOCKS_MAX} more failures")
    print("\n".join([*shown, *others[-TAIL_LINES:]]))


def build(root: Path, target: Path) -> Path:
    """Build the wheel of the checkout into `target` with the running Python's hatchling."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    wheels = list(target.glob("meshwire-*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        print(done.stdout, done.stderr, sep="\n")
        message = f"the build ended with exit code {done.returncode} and {len(wheels)} wheels"
        raise WheelFaultError(message)
    return wheels[0]


def demand_data(root: Path, wheel: Path) -> None:
    """Raise WheelFaultError if the wheel lacks a copy of a data file of the checkout."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    missing = sorted(
        str(path.relative_to(root))
        for folder, name in DATA.items()
        for path in (root / folder).rglob("*")
        if path.is_file() and f"{name}/{path.relative_to(root / folder)}" not in packed
    )
    if missing:
        message = f"the wheel lacks {len(missing)} files of data, among them {missing[0]}"
        raise WheelFaultError(message)


def is_inside(path: Path, folder: Path) -> bool:
    """Return True if `path` lies in `folder`."""
    return path.resolve().is_relative_to(folder.resolve())


def run_alone(environment: Environment, wheel: Path, root: Path) -> None:
    """Run the commands for which the base dependencies must suffice."""
    environment.install(root / "constraints.txt", str(wheel))
    origin = "import meshwire_conformance as package; print(package.__file__)"
    python = environment.command("python")
    if is_inside(Path(environment.run(python, "-c", origin).strip()), root):
        message = "the clean environment imports meshwire from the checkout"
        raise WheelFaultError(message)
    index = "from meshwire_conformance.catalogue.index import read_index; print(bool(read_index()))"
    environment.run(python, "-c", index, expects=["True"])
    meshwire = environment.command("meshwire")
    environment.run(meshwire, "--version", expects=["meshwire"])
    environment.run(meshwire, "decode", "--kind", "heartbeat", HEARTBEAT, expects=["sent_at"])
    codec = f"stdio:{environment.command('meshwire-node')} codec"
    environment.run(meshwire, "check", codec, "--known-failing", "peat-mesh")


def run_with_node(environment: Environment, wheel: Path, root: Path) -> None:
    """Run a share of the check, which starts the bundled node."""
    environment.install(root / "constraints.txt", f"{wheel}[node]")
    only = [word for pattern in SHARE for word in ("--only", pattern)]
    environment.run(environment.command("meshwire"), "check", *only)


def main(arguments: list[str] | None = None) -> int:
    """Check the wheel; print one line and return 1 if a step fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--wheel", type=Path, help="check this wheel instead of building one")
    parser.add_argument("--alone", action="store_true", help="skip the part with the extra `node`")
    options = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="meshwire-wheel-"))
    try:
        wheel = options.wheel.resolve() if options.wheel else build(options.root, work)
        print(f"check_wheel: {wheel.name}, {wheel.stat().st_size // 1024} KiB", flush=True)
        demand_data(options.root, wheel)
        environment = Environment(work / "environment", work)
        venv.create(environment.folder, with_pip=True)
        run_alone(environment, wheel, options.root)
        if not options.alone:
            run_with_node(environment, wheel, options.root)
    except (WheelFaultError, OSError, zipfile.BadZipFile) as exc:
        print(f"check_wheel: {exc}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work)
    print("check_wheel: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
