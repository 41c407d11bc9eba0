"""Run the suite on every peer that must fail, and write what each passed.

The peers are the rows of `conformance/liars/peers.toml`; nodes run in memory, with a clock that
jumps over every wait. `--check` runs nothing: it compares the table with the last run. Exit status
1 if a peer passes more than it may.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from liar_rows import MEASURED_FILE, Liar, Measured, problems_of, read_liars, read_measured
from meshwire_conformance.catalogue.case import OPLOG_SESSION, SOCKET
from meshwire_conformance.codec_suite.part import run as run_codec
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.run.loading import load_catalogue, load_listing
from meshwire_conformance.socket_suite.needs import open_documents
from meshwire_conformance.socket_suite.part import SocketPart
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.handshake import Formation
from meshwire_conformance.targets.transport import Address
from meshwire_conformance.verdicts import APPLICABLE, CaseResult, ExitCode, Verdict, exit_code
from meshwire_spec.numbers import CAPABILITIES, OPTIONAL_CAPABILITIES
from virtual_time import MemoryDialler, run_in_virtual_time

PROGRAMS = Path(__file__).parents[1] / "conformance" / "tests" / "programs"
sys.path.insert(0, str(PROGRAMS))

from lying_node import DEADLINE_S, FORMATION_ID, Node  # noqa: E402 - in the folder just added

SECRET = bytes(range(1, 33))


def results_of(liar: Liar) -> list[CaseResult]:
    """Return the verdict of every case about a peer."""
    return JUDGES[liar.kind](liar)


def _results_of_codec(liar: Liar) -> list[CaseResult]:
    command = shlex.join((sys.executable, str(PROGRAMS / "codec_peer.py"), liar.how))
    catalogue = load_listing()
    cases = [case for case in catalogue.cases if case.kind not in (SOCKET, OPLOG_SESSION)]
    settings = Settings(timeout_scale=liar.timeout_scale)
    attachment = Attachment("stdio", command, f"stdio:{command}")
    return asyncio.run(run_codec(cases, catalogue, attachment, settings, lambda _result: None))


def _results_of_node(liar: Liar) -> list[CaseResult]:
    return run_in_virtual_time(_judge_node(liar))


async def _judge_node(liar: Liar) -> list[CaseResult]:
    formation = None if liar.dialect == "open" else Formation(FORMATION_ID, SECRET)
    facts = Facts(
        dialect=liar.dialect,
        formation_id=FORMATION_ID,
        capabilities=frozenset((*CAPABILITIES, *OPTIONAL_CAPABILITIES)),
        deadlines={"handshake_s": DEADLINE_S, "frame_stall_s": DEADLINE_S},
    )
    address = Address("tcp", "memory", 1)
    dialler = MemoryDialler(address, Node(liar.how, formation).accepted)
    target = Target(address, facts, dialler, formation)
    catalogue = load_catalogue()
    cases = [case for case in catalogue.cases if case.kind == SOCKET]
    # No case is repeated: in virtual time nothing is late, so a repetition changes nothing.
    settings = Settings(expects=lambda _case, _symptom: True)
    documents = await open_documents()
    part = SocketPart(target, catalogue, settings, documents, liar.dialect, lambda _result: None)
    try:
        return await part.run(cases)
    finally:
        if documents is not None:
            await documents.close()


JUDGES = {"codec": _results_of_codec, "node": _results_of_node}
"""The function that runs the cases of a kind of peer."""


def measured_of(liar: Liar, results: Sequence[CaseResult]) -> Measured:
    """Return what a peer passed; raises ValueError unless the run would end with exit 1."""
    code = exit_code(results)
    if code is not ExitCode.VIOLATIONS:
        raise ValueError(f"{liar.name}: the run ends with exit {int(code)}")
    applicable = [one for one in results if one.verdict in APPLICABLE]
    passed = [one.case for one in applicable if one.verdict is Verdict.PASS]
    excused = liar.excused()
    rightly = tuple(name for name in passed if name in excused)
    expected_to_fail = len(applicable) - len(rightly)
    return Measured(
        expected_to_fail, tuple(name for name in passed if name not in excused), rightly
    )


def _text(measured: dict[str, Measured]) -> str:
    rows = {
        name: {
            "expected_to_fail": one.expected_to_fail,
            "passed": one.passed,
            "rightly": one.rightly,
        }
        for name, one in measured.items()
    }
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="run nothing, compare what is written")
    parser.add_argument("--peer", action="append", help="run this peer alone; may be repeated")
    options = parser.parse_args(arguments)
    liars, measured = read_liars(), read_measured()
    unknown = sorted(set(options.peer or ()) - set(liars))
    if unknown:
        print(f"no peer {unknown[0]!r} in conformance/liars/peers.toml")
        return 2
    if not options.check:
        for name in options.peer or liars:
            measured[name] = measured_of(liars[name], results_of(liars[name]))
            print(f"{name}: {len(measured[name].passed)} passed", flush=True)
        measured = {name: measured[name] for name in liars if name in measured}
        MEASURED_FILE.write_text(_text(measured), "utf-8")
    lines = [f"{name}: not run yet" for name in liars if name not in measured]
    lines += [f"{name}: no row has this name" for name in measured if name not in liars]
    for name in measured.keys() & liars.keys():
        lines += problems_of(liars[name], measured[name])
    for line in sorted(lines):
        print(f"{line}; see tools/liars.py --help")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
