"""Move the flat modules of reference and suite into packages, and rewrite what names them.

Run once, on the commit before the one that is listed in `.git-blame-ignore-revs`; kept so that a
branch from before the move can be brought over: run it there, then rebase. It moves files with
`git mv`, rewrites imports, and replaces module names and paths in pages, comments and settings.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

REFERENCE = {
    "cli": "cli.app",
    "run": "cli.run",
    "config": "node.config",
    "ready": "node.ready",
    "dialler": "node.dialler",
    "folder": "node.folder",
    "link": "node.connection",
    "log": "node.log",
    "node": "node.driver",
    "formation": "core.formation",
    "harness": "harness.serve",
    "harness_request": "harness.request",
    "harness_sessions": "harness.sessions",
    "wire.shapes": "harness.shapes",
    "wire.values": "harness.values",
    "wire.kinds": "harness.kinds",
    "documents.calls": "core.document_calls",
    "documents.messages": "core.sync_messages",
    "core.budget": "core.limits.budget",
    "core.room": "core.limits.room",
    "core.waiters": "core.limits.waiters",
    "core.turns": "core.limits.fair_turns",
    "core.cooldowns": "core.limits.rate_limit",
    "core.session": "core.peer.session",
    "core.inbound": "core.peer.inbound",
    "core.heartbeat_stream": "core.peer.heartbeat_stream",
    "core.liveness": "core.peer.heartbeats",
    "core.handshake": "core.peer.handshake",
    "core.proving": "core.peer.handshake_stream",
    "core.frames": "core.frames.dispatch",
    "core.documents": "core.frames.document_frames",
    "core.removals": "core.frames.tombstone_frames",
    "core.tombstones": "core.state.tombstones",
    "core.policy": "core.state.policy",
    "core.holdings": "core.state.document_index",
    "core.durability": "core.state.durability",
    "core.queues": "core.state.document_queues",
    "core.outbound": "core.sending.outbound",
    "core.parcels": "core.sending.parcels",
    "core.exchange": "core.sending.initial_exchange",
    "core.selection": "core.sending.selection",
    "core.routing": "core.sending.relay",
    "core.snapshot_answers": "core.sending.snapshot_answers",
    "core.served_runs": "core.reconciliation.server",
    "core.own_run": "core.reconciliation.client",
    "core.faulty_runs": "core.reconciliation.faulty_runs",
    "simulation": "testing",
    "simulation.author": "testing.author",
    "simulation.bench": "testing.bench",
    "transport.memory": "testing.memory_transport",
    "transport.lab": "transport.lab.connection",
    "transport.halves": "transport.lab.streams",
    "transport.records": "transport.lab.records",
    "transport.link": "transport.lab.link",
    "transport.tcp": "transport.lab.tcp",
    "transport.flaws": "transport.lab.flaws",
    "transport.iroh": "transport.iroh.endpoint",
    "transport.iroh_connection": "transport.iroh.connection",
    "transport.iroh_binding": "transport.iroh.library",
}

SUITE = {
    "cli": "commands.main",
    "ending": "commands.ending",
    "interrupts": "commands.interrupts",
    "interruptible": "commands.interruptible",
    "streams": "commands.streams",
    "progress": "commands.progress",
    "runner": "run.runner",
    "parts": "run.contracts",
    "catalogue": "catalogue.catalogue",
    "data_files": "catalogue.data_files",
    "vectors": "catalogue.vectors",
    "transcripts": "catalogue.transcripts",
    "visible": "catalogue.visible",
    "reconciliations": "catalogue.reconciliations",
    "cases": "catalogue.python_cases",
    "codec_part": "codec_suite.part",
    "codec_judge": "codec_suite.judge",
    "codec_report": "codec_suite.findings",
    "adapter_judge": "codec_suite.manners",
    "reconciliation_judge": "codec_suite.reconciliation_judge",
    "reconciliation_asks": "codec_suite.reconciliation_requests",
    "requests": "codec_suite.requests",
    "socket_part": "socket_suite.part",
    "case_run": "socket_suite.case_run",
    "transcript_steps": "socket_suite.transcript_steps",
    "judging": "socket_suite.attempts",
    "calibration": "socket_suite.calibration",
    "deadlines": "socket_suite.deadlines",
    "composing": "socket_suite.composing",
    "connecting": "socket_suite.connecting",
    "content": "socket_suite.content",
    "document_doorway": "socket_suite.document_doorway",
    "evidence": "socket_suite.evidence",
    "exchange": "socket_suite.sync_exchange",
    "finding": "socket_suite.capabilities",
    "inbox": "socket_suite.inbox",
    "outcome": "socket_suite.outcome",
    "peers": "socket_suite.peers",
    "scope": "socket_suite.scope",
    "shortfall": "socket_suite.shortfall",
    "socket_needs": "socket_suite.needs",
    "reconciling": "socket_suite.reconciling",
    "answers": "socket_suite.answers",
    "watch": "socket_suite.watch",
    "attach": "targets.attach",
    "bundle": "targets.bundle",
    "facts": "targets.facts",
    "transport": "targets.transport",
    "trial": "targets.trial",
    "lab": "targets.lab",
    "targets": "targets.base",
    "negentropy": "protocol.negentropy",
    "negentropy_messages": "protocol.negentropy_messages",
    "automerge_bytes": "protocol.automerge_bytes",
    "frame_content": "protocol.frame_content",
    "handshake": "protocol.handshake",
    "decode": "explain.decode",
    "field_rows": "explain.field_rows",
    "hexdump": "explain.hexdump",
    "values": "explain.values",
    "report": "report.record",
    "ledger": "report.ledger",
    "verify": "self_check.verify",
    "generated": "self_check.generated",
    "coverage": "self_check.coverage",
    "field_table": "self_check.field_table",
}

REFERENCE_TESTS = {
    "test_core_clock": "core/test_clock",
    "test_core_documents": "core/frames/test_document_frames",
    "test_core_exchange": "core/sending/test_initial_exchange",
    "test_core_handshake": "core/peer/test_handshake",
    "test_core_holdings": "core/state/test_document_index",
    "test_core_network": "core/test_network",
    "test_core_parts": "core/test_parts",
    "test_core_reconciliation": "core/reconciliation/test_server",
    "test_core_room": "core/limits/test_room",
    "test_core_runs": "core/reconciliation/test_runs",
    "test_core_streams": "core/peer/test_inbound",
    "test_core_tombstones": "core/frames/test_tombstone_frames",
    "test_dialler": "node/test_dialler",
    "test_documents_chunks": "documents/test_chunks",
    "test_documents_exchanges": "documents/test_exchanges",
    "test_documents_hostile": "documents/test_hostile",
    "test_documents_messages": "core/test_sync_messages",
    "test_documents_patches": "documents/test_patches",
    "test_documents_supervisor": "documents/test_supervisor",
    "test_documents_table": "documents/test_table",
    "deadly_worker": "documents/deadly_worker",
    "test_folder": "node/test_folder",
    "test_formation": "core/test_formation",
    "test_harness": "harness/test_serve",
    "test_harness_sessions": "harness/test_sessions",
    "test_lab": "transport/lab/test_connection",
    "test_lab_flaws": "transport/lab/test_flaws",
    "test_lab_records": "transport/lab/test_records",
    "test_negentropy_index": "negentropy/test_index",
    "test_negentropy_messages": "negentropy/test_messages",
    "test_negentropy_run": "negentropy/test_run",
    "test_negentropy_session": "negentropy/test_session",
    "test_negentropy_vector": "negentropy/test_vector",
    "test_node": "node/test_driver",
    "test_node_pair": "node/test_pair",
    "test_node_run": "cli/test_run",
    "test_node_three": "node/test_three",
    "test_store_memory": "store/test_memory",
    "test_transport": "transport/test_transport",
    "test_transport_tcp": "transport/lab/test_tcp",
    "test_wire_accept": "wire/test_accept",
    "test_wire_captured": "wire/test_captured",
    "test_wire_faults": "wire/test_faults",
    "test_wire_frames": "wire/test_frames",
    "test_wire_hand": "wire/test_hand",
    "test_wire_properties": "wire/test_properties",
    "test_wire_shapes": "harness/test_shapes",
}

SUITE_TESTS = {
    "absorbing/socket_peer": "programs/socket_peer",
    "absorbing_peer": "programs/absorbing_peer",
    "codec_peer": "programs/codec_peer",
    "deployed_peer": "programs/deployed_peer",
    "planted_codec": "programs/planted_codec",
    "reconciling_peer": "programs/reconciling_peer",
    "test_absorbing_peers": "run/test_absorbing_peers",
    "test_adapter_manners": "codec_suite/test_manners",
    "test_captured": "captured/test_captured",
    "test_captured_reconciliations": "captured/test_captured_reconciliations",
    "test_catalogue": "catalogue/test_catalogue",
    "test_cli": "commands/test_main",
    "test_codec_part": "codec_suite/test_part",
    "test_decode": "explain/test_decode",
    "test_documents_client": "documents/test_client",
    "test_documents_hostile": "documents/test_hostile",
    "test_documents_values": "documents/test_values",
    "test_encode_negatives": "codec_suite/test_encode_negatives",
    "test_evidence": "socket_suite/test_evidence",
    "test_field_rows": "explain/test_field_rows",
    "test_finding": "socket_suite/test_capabilities",
    "test_hostile_programs": "run/test_hostile_programs",
    "test_iroh": "targets/test_iroh",
    "test_lab": "targets/test_lab",
    "test_ledger": "report/test_ledger",
    "test_negentropy": "protocol/test_negentropy",
    "test_newcomer": "commands/test_newcomer",
    "test_progress": "commands/test_progress",
    "test_reconciliations": "codec_suite/test_reconciliations",
    "test_reconciling": "socket_suite/test_reconciling",
    "test_replay": "captured/test_replay",
    "test_reports": "report/test_reports",
    "test_scripted_peers": "run/test_scripted_peers",
    "test_shortfall": "socket_suite/test_shortfall",
    "test_socket_parts": "socket_suite/test_pieces",
    "test_transcripts": "catalogue/test_transcripts",
    "test_trial": "targets/test_trial",
    "test_values_and_dumps": "explain/test_values_and_dumps",
    "test_vectors": "catalogue/test_vectors",
    "test_verdicts": "test_verdicts",
    "test_verify": "self_check/test_verify",
}

PACKAGES = {
    "reference/meshwire_reference": REFERENCE,
    "conformance/meshwire_conformance": SUITE,
}
TESTS = {"reference/tests": REFERENCE_TESTS, "conformance/tests": SUITE_TESTS}

PACKAGE_DOCS = {
    "meshwire_reference.cli": "The commands of `meshwire-node`.",
    "meshwire_reference.node": (
        "The node as a process: the asyncio driver of the core, its connections and its settings."
    ),
    "meshwire_reference.harness": (
        "The codec harness: the codec of `wire` behind a pipe, one JSON object a line."
    ),
    "meshwire_reference.testing": (
        "Parts for tests: a bench that plays everything around a core, and a transport in memory."
    ),
    "meshwire_reference.core.peer": (
        "One peer: its session, its handshake, and the streams that it opened."
    ),
    "meshwire_reference.core.frames": (
        "What each frame does: a table from frame type to handler, and the handlers."
    ),
    "meshwire_reference.core.state": (
        "What the node holds: tombstones, the index of documents, and what is not durable yet."
    ),
    "meshwire_reference.core.sending": (
        "What goes to a peer: queues, the initial exchange, relays and answers."
    ),
    "meshwire_reference.core.reconciliation": (
        "Reconciliation runs over streams, as server and as client."
    ),
    "meshwire_reference.core.limits": (
        "Limits on what a peer may cost: bytes, turns and repetitions."
    ),
    "meshwire_reference.transport.lab": (
        "The lab binding: QUIC's stream model over one TCP connection."
    ),
    "meshwire_reference.transport.iroh": "The iroh transport: QUIC with proven endpoint ids.",
    "meshwire_conformance.run": (
        "A run of the suite: which cases go to which target, and what a part of the suite is."
    ),
    "meshwire_conformance.catalogue": (
        "Every case: where it is read from, how it is selected, and the digest over all."
    ),
    "meshwire_conformance.cases": (
        "Socket cases that need a loop or a branch: one module for each page of the specification."
    ),
    "meshwire_conformance.codec_suite": (
        "Codec cases: requests to a codec harness, and verdicts on its answers."
    ),
    "meshwire_conformance.socket_suite": (
        "Socket cases: runs against a node over connections, and verdicts on what it sends."
    ),
    "meshwire_conformance.targets": "Ways to attach to a target: one module for each scheme.",
    "meshwire_conformance.protocol": (
        "The suite's own implementation of protocol algorithms, independent of the reference."
    ),
    "meshwire_conformance.explain": (
        "Bytes and values shown to a person: decoding, field rows, hex dumps, comparisons."
    ),
    "meshwire_conformance.report": (
        "Reports: one module for each format, all over the same record of a run."
    ),
    "meshwire_conformance.self_check": (
        "Checks of the suite itself: schema against codec, and coverage of the vectors."
    ),
}


def module_file(folder: str, module: str) -> Path:
    """Path of a module relative to the root; a package is its `__init__.py`."""
    path = Path(folder, *module.split("."))
    package = path / "__init__.py"
    return package if (ROOT / package).exists() else path.with_suffix(".py")


def moved_files() -> dict[str, str]:
    """Old path to new path of every file that moves."""
    moves = {}
    for folder, table in PACKAGES.items():
        for old, new in table.items():
            target = Path(folder, *new.split(".")).with_suffix(".py")
            if old == "simulation":
                target = Path(folder, new, "__init__.py")
            moves[str(module_file(folder, old))] = str(target)
    for folder, table in TESTS.items():
        for old, new in table.items():
            moves[f"{folder}/{old}.py"] = f"{folder}/{new}.py"
    return moves


def module_names() -> dict[str, str]:
    """Old dotted name to new dotted name of every module that moves."""
    names = {}
    for folder, table in PACKAGES.items():
        package = Path(folder).name
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            # A module that stays is listed too: its package may have the name of one that moves.
            stays = ".".join((package, *parts[: -1 if parts[-1] == "__init__" else None]))
            names[stays] = stays
        names |= {f"{package}.{old}": f"{package}.{new}" for old, new in table.items()}
    return names


def rewrite_imports(text: str, names: dict[str, str]) -> str:
    """Split `from package import module` where the module has moved elsewhere."""
    lines = text.splitlines(keepends=True)
    edits = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("meshwire_"):
            continue
        parent = node.module or ""
        if not any(f"{parent}.{alias.name}" in names for alias in node.names):
            continue
        indent = " " * node.col_offset
        comment = lines[(node.end_lineno or node.lineno) - 1].partition("#")[2].strip()
        wanted: dict[str, list[str]] = {}
        for alias in node.names:
            moved = names.get(f"{parent}.{alias.name}")
            base, _, name = (
                moved.rpartition(".") if moved else (names.get(parent, parent), "", alias.name)
            )
            local = alias.asname or alias.name
            said = name if name == local else f"{name} as {local}"
            wanted.setdefault(base, []).append(said)
        tail = f"  # {comment}" if comment else ""
        out = [
            f"{indent}from {base}\0 import {', '.join(said)}{tail}" for base, said in wanted.items()
        ]
        edits.append((node.lineno - 1, node.end_lineno or node.lineno, "\n".join(out) + "\n"))
    for start, end, new in sorted(edits, reverse=True):
        lines[start:end] = [new]
    return "".join(lines)


def replace_names(text: str, names: dict[str, str], paths: dict[str, str]) -> str:
    """Replace dotted names and slash paths, each at most once and the longest first."""

    def dotted(match: re.Match[str]) -> str:
        parts = match[0].split(".")
        for end in range(len(parts), 1, -1):
            head = ".".join(parts[:end])
            if head in names:
                return ".".join((names[head], *parts[end:]))
        return match[0]

    text = re.sub(r"\bmeshwire_(?:reference|conformance)(?:\.[a-z_]++)++(?![\w\0])", dotted, text)
    pattern = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
    text = re.sub(rf"(?<![\w/])(?:{pattern})", lambda match: paths[match[0]], text)
    return text.replace("\0", "")


def texts() -> Iterator[Path]:
    """Every committed file that may name a module or a path."""
    listed = subprocess.run(
        ["git", "ls-files"],  # noqa: S607 - the git of whoever runs this
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for name in listed:
        path = ROOT / name
        if name.startswith("tools/history/"):
            continue
        if path.suffix in {".py", ".md", ".toml", ".sh", ".yml"} or path.name == "Makefile":
            yield path


def git(*words: str) -> None:
    """Run git in the root."""
    subprocess.run(["git", *words], cwd=ROOT, check=True)  # noqa: S607 - as above


def main() -> int:
    """Move, rewrite, format."""
    names = module_names()
    moves = moved_files()
    # First aside, since the name of a new package may be that of an old module.
    for old in moves:
        git("mv", old, f"{old}.moving")
    for old, new in moves.items():
        (ROOT / new).parent.mkdir(parents=True, exist_ok=True)
        git("mv", f"{old}.moving", new)
    for package, doc in PACKAGE_DOCS.items():
        top = package.partition(".")[0]
        folder = "reference" if top == "meshwire_reference" else "conformance"
        path = ROOT / folder / Path(*package.split(".")) / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""{doc}"""\n', encoding="utf-8")
        git("add", str(path))
    for path in texts():
        text = path.read_text(encoding="utf-8")
        new = rewrite_imports(text, names) if path.suffix == ".py" else text
        new = replace_names(new, names, moves)
        if new != text:
            path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
