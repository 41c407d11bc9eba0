"""Time reconciliation against the Rust crate `negentropy` and against naive summing, in one run.

Client and server of each are measured over the same two sets, each in a process of its own, by
turns, and the best counts; all messages must be the same bytes. `naive` is the reference's session
over a storage that sums the ids of every range anew, as the crate's only storage (a vector) does.
The floor of a build is a bare sort of the items' keys and the running sum of their ids. Without
cargo the crate's rows are left out.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, starmap
from pathlib import Path
from random import Random
from struct import Struct
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from meshwire_reference.negentropy import Reconciliation, Storage
from negentropy_sets import Item, identity, sealed
from reconciliation_oracle import CrateFault, build, crate_name

START: Final = 1_700_000_000_000
SMALLEST: Final = 1000
KEY: Final = Struct(">Q32s")
ITEM: Final = Struct("<Q32s")
COUNT: Final = Struct("<I")
TIMESTAMP: Final = 8
SIZES: Final = (100_000, 1_000_000)
FRAME_LIMITS: Final = (0, 60_000)
ROUNDS: Final = 10
NAIVE_ROUNDS: Final = 2
MILLISECONDS: Final = 1000

Figures = dict[str, float]


class NaiveStorage:
    """A sealed vector without stored sums: each is computed from the ids since the previous one."""

    def __init__(self, items: list[Item]) -> None:
        self._vector = sealed(items)
        self._rank = self._total = 0

    @property
    def size(self) -> int:
        """Number of items."""
        return self._vector.size

    def _sum_to(self, rank: int) -> int:
        low, high = min(rank, self._rank), max(rank, self._rank)
        amount = sum(int.from_bytes(found, "little") for found in self._vector.ids(low, high))
        self._total += amount if rank > self._rank else -amount
        self._rank = rank
        return self._total

    def locate(self, bound: bytes, first: int, expected: int) -> tuple[int, int]:
        """Return rank and sum at a bound."""
        rank = self._vector.locate(bound, first, expected)[0]
        return rank, self._sum_to(rank)

    def cut(self, rank: int) -> tuple[int, bytes]:
        """Return sum and bound at a rank."""
        return self._sum_to(rank), self._vector.cut(rank)[1]

    def key(self, rank: int) -> bytes:
        """Return the key of an item."""
        return self._vector.key(rank)

    def ids(self, lower: int, upper: int) -> list[bytes]:
        """Return the ids of some ranks."""
        return self._vector.ids(lower, upper)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Two sets of `items` numbered items, of which each lacks half of the differences."""

    items: int
    differences: int

    def sets(self) -> tuple[list[Item], list[Item]]:
        """Return the sorted items of client and server."""
        missing = range(3, self.items, self.items // self.differences)[: self.differences]
        without = (set(missing[1::2]), set(missing[::2]))
        every = [(START + number, identity(number)) for number in range(self.items)]
        ours, theirs = (
            [item for number, item in enumerate(every) if number not in absent]
            for absent in without
        )
        return ours, theirs


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    start = perf_counter()
    call()
    return perf_counter() - start


def time_run(ours: Storage, theirs: Storage, limit: int) -> tuple[float, float, list[bytes]]:
    """Return the seconds of client and server over a whole run, and its messages."""
    client, server = Reconciliation(ours, limit), Reconciliation(theirs, limit)
    messages: list[bytes] = []
    client_s = server_s = 0.0
    start = perf_counter()
    query: bytes | None = client.initiate()
    client_s += perf_counter() - start
    while query is not None:
        start = perf_counter()
        reply = server.reconcile(query).reply
        middle = perf_counter()
        assert reply is not None
        step = client.reconcile(reply)
        client_s += perf_counter() - middle
        server_s += middle - start
        messages += (query, reply)
        query = step.reply
    return client_s, server_s, messages


def transcript(messages: list[bytes]) -> bytes:
    """Return all messages in the form that the crate's process writes."""
    parts = [COUNT.pack(len(messages))]
    for message in messages:
        parts += (COUNT.pack(len(message)), message)
    return b"".join(parts)


def pack_items(items: list[Item]) -> bytes:
    """Return items as both kinds of process read them."""
    return b"".join(starmap(ITEM.pack, items))


def read_items(path: Path) -> list[Item]:
    """Return the items of a file."""
    return list(ITEM.iter_unpack(path.read_bytes()))


def shuffle(items: list[Item]) -> list[Item]:
    """Return items in an order that is the same in every run."""
    return Random(1).sample(items, len(items))  # noqa: S311 - to be repeated


def floor(items: list[Item]) -> None:
    """Do the least that any build does: sort the keys of the items and sum their ids."""
    keys = sorted(starmap(KEY.pack, items))
    numbers = (int.from_bytes(key[TIMESTAMP:], "little") for key in keys)
    list(accumulate(numbers, initial=0))


def measure(folder: Path, kind: str, limit: int) -> Figures:
    """Measure one storage in this process and write its messages; for the child process."""
    items = read_items(folder / "ours")
    make: Callable[[list[Item]], Storage] = NaiveStorage if kind == "naive" else sealed
    ours, theirs = make(items), make(read_items(folder / "theirs"))
    rounds = NAIVE_ROUNDS if kind == "naive" else ROUNDS
    runs = [time_run(ours, theirs, limit) for _ in range(rounds)]
    (folder / kind).write_bytes(transcript(runs[0][2]))
    figures = {
        "client": min(run[0] for run in runs),
        "server": min(run[1] for run in runs),
        "peak_kib": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss),
    }
    if kind == "naive":
        return figures
    # Builds come last: their garbage would scatter the items of the runs over memory.
    del ours, theirs, runs
    for name, suffix in (("ours", ""), ("shuffled", "_shuffled")):
        items = read_items(folder / name)
        figures[f"build{suffix}"] = min(timed(partial(sealed, items)) for _ in range(3))
        figures[f"floor{suffix}"] = min(timed(partial(floor, items)) for _ in range(3))
    return figures


def run_child(command: list[str]) -> Figures:
    """Return the figures that a process prints."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def measure_crate(program: Path, folder: Path, limit: int) -> Figures:
    """Measure the crate over the same files; the build also of shuffled items."""
    command = [str(program), "bench", "", str(folder / "theirs"), str(limit), str(folder / "crate")]
    results = {}
    for name in ("shuffled", "ours"):
        command[2] = str(folder / name)
        results[name] = run_child(command)
    return results["ours"] | {"build_shuffled": results["shuffled"]["build"]}


def best(figures: list[Figures]) -> Figures:
    """Return the least of each figure."""
    return {name: min(found[name] for found in figures) for name in figures[0]}


def compare(folder: Path, limit: int, program: Path | None) -> Iterator[tuple[str, Figures]]:
    """Yield the figures of each implementation; a difference in bytes is an assertion."""
    child = [sys.executable, str(Path(__file__).resolve()), "--folder", str(folder)]
    turns: dict[str, list[Figures]] = {"reference": [], "crate": []}
    for _ in range(2):
        if program is not None:
            turns["crate"].append(measure_crate(program, folder, limit))
        turns["reference"].append(
            run_child([*child, "--child", "reference", "--limit", str(limit)])
        )
    yield from ((name, best(figures)) for name, figures in turns.items() if figures)
    yield "naive", run_child([*child, "--child", "naive", "--limit", str(limit)])
    content = (folder / "reference").read_bytes()
    assert content == (folder / "naive").read_bytes()
    if program is not None:
        assert content == (folder / "crate").read_bytes()


def print_row(name: str, figures: Figures, base: Figures | None) -> None:
    """Print one implementation, with the crate's time over its own."""
    parts = []
    for key in ("build", "build_shuffled", "client", "server"):
        if key in figures:
            ratio = (
                f" ({figures[key] / base[key]:.2f} of crate)"
                if base and base is not figures
                else ""
            )
            parts.append(f"{key} {figures[key] * MILLISECONDS:.2f} ms{ratio}")
    if "floor" in figures:
        parts.append(
            f"floor {figures['floor'] * MILLISECONDS:.0f} / "
            f"{figures['floor_shuffled'] * MILLISECONDS:.0f} ms"
        )
    print(f"  {name:9} {', '.join(parts)}, peak {figures['peak_kib'] / 1024:.0f} MiB", flush=True)


def run_scenario(scenario: Scenario, program: Path | None) -> None:
    """Print every figure of one pair of sets."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs = scenario.sets()
        (folder / "ours").write_bytes(pack_items(ours))
        (folder / "shuffled").write_bytes(pack_items(shuffle(ours)))
        (folder / "theirs").write_bytes(pack_items(theirs))
        del ours, theirs
        for limit in FRAME_LIMITS:
            rows = dict(compare(folder, limit, program))
            messages = (folder / "reference").read_bytes()
            (count,) = COUNT.unpack_from(messages)
            size = len(messages) - COUNT.size * (count + 1)
            print(
                f"{scenario.items} items, {scenario.differences} differences, frame limit {limit}: "
                f"{count // 2} rounds, {size} bytes, all the same"
            )
            for implementation, figures in rows.items():
                print_row(implementation, figures, rows.get("crate"))


def main() -> None:
    """Print each scenario; times in brackets are over those of the crate, less is faster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--child", choices=("reference", "naive"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.sizes) < SMALLEST:
        parser.error(f"--sizes are at least {SMALLEST} items: 1 % of them differ")
    if options.child:
        print(json.dumps(measure(options.folder, options.child, options.limit)))
        return
    program: Path | None = None
    try:
        program = build()
        print(crate_name())
    except CrateFault as fault:
        print(f"{fault}: the crate is left out")
    print("in brackets a time over the crate's: below 1 is faster; a million items take 6 minutes")
    for items in options.sizes:
        for differences in (10, items // 100):
            run_scenario(Scenario(items, differences), program)


if __name__ == "__main__":
    main()
