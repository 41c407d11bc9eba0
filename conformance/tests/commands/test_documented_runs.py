"""Commands on the pages, run as they are in a folder that has what they name.

Every line of a shell block is run here, or is in a table with the reason why not. The folder has
what a reader has by then: a codec, a node, a ledger, reports, a capture. Ports are free ones, and a
check that would take minutes gets options that leave a few of its cases.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from packets import RAW, data_record, ip4, pcapng, preamble, tcp
from page_commands import ROOT, blocks, without_comment

from meshwire_conformance.verdicts import ExitCode

pytestmark = pytest.mark.process

PROGRAMS = {
    "meshwire": "meshwire_conformance.commands.main",
    "meshwire-node": "meshwire_reference.cli",
    "pytest": "pytest",
}
"""The commands of the pages, and the modules that they are."""
SKELETON = ROOT / "conformance/meshwire_conformance/skeletons/python/codec.py.txt"
SCRIPTS = {
    "codec": "exec meshwire-node codec",
    "a": f"exec '{sys.executable}' '{{folder}}/my-codec.py'",
    "b": f"exec '{sys.executable}' '{{folder}}/my-codec.py'",
    "my-codec": f"exec '{sys.executable}' '{{folder}}/my-codec.py'",
    "node": (
        'case "$*" in *--formation-id*) open= ;; *) open=--open ;; esac\n'
        "exec meshwire-node run --listen tcp://127.0.0.1:0 --redial-s 0.2 $open"
        ' --heartbeat-s 1 "$@"'
    ),
}
"""What a reader has: programs of the names that the pages use.

`my-codec` is what `meshwire new-adapter` writes, with a bug.
"""
NOT_RUN = {
    "make check": "installs everything and runs the whole suite: `make ci` does it",
    "make test": "runs every test, this one too",
    "python tools/new_rule.py": "changes the pages; tools/tests/test_new_rule.py runs it on a copy",
}
"""Beginnings of lines that are not run, with the reason."""
FEWER = (
    (
        re.compile(r"check .*\{dial\}.*--only"),
        "--skip 'MW-*[!1]' --skip 'MW-*[!1]?' --skip 'MW-[!6]*' --timeout-scale 4",
    ),
    (
        re.compile(r"check .*node:.*--only 'EN-"),
        "--skip 'MW-[!7]*' --skip 'MW-*[!0]' --timeout-scale 4",
    ),
    (re.compile(r"check .*node:.*--only"), "--skip 'MW-[!5]*' --skip 'MW-*[!7]' --timeout-scale 4"),
    (re.compile(r"check .*codec\" --only"), "--skip 'MW-*[!1357]'"),
    (re.compile(r"check .*(--list |--list$|--only|--kind)"), ""),
    (re.compile(r"check .*(node:.*\{dial\}|tcp-listen:)"), "--only MW-6010 --timeout-scale 4"),
    (re.compile(r"check .*oplog-node:"), "--only MW-9066 --timeout-scale 4"),
    (re.compile(r"check .*(node:|tcp:)"), "--only MW-5001 --timeout-scale 4"),
    (re.compile(r"check "), "--kind heartbeat"),
    (re.compile(r"^pytest "), "-p no:cacheprovider -k heartbeat"),
)
"""What leaves a few cases of a line: the first row that fits is added to it."""
ENDS = {
    "meshwire ledger diff old.toml known.toml": ExitCode.VIOLATIONS,
    'MESHWIRE_TARGET="stdio:./my-codec" sh conformance/gate/run.sh': ExitCode.VIOLATIONS,
}
"""Exit codes that are not 0: old.toml has an entry more, and my-codec has a bug."""
TOMBSTONE = bytes.fromhex(
    "0006747261636b73 0005646f632d31 0000018bcfe56800 000000000000000a 00066e6f64652d61 0000 00"
)
SECONDS_MAX = 600


def program(path: Path, text: str) -> None:
    """Write a program of the shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def environment(folder: Path) -> dict[str, str]:
    """The environment of a reader: the commands on the path, and nothing that a gate has set."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("MESHWIRE", "GITHUB", "PYTEST"))
    }
    return {
        **kept,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "MESHWIRE": str(folder / "bin" / "meshwire-heartbeats"),
    }


def shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a line to its end."""
    return subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )


def prepare(folder: Path, script: str, code: int = 0) -> None:
    """Run a line that makes a file of the folder."""
    done = shell(folder, script)
    assert done.returncode == code, output_of(done)


def output_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return the end of what a line has written."""
    return f"{done.args[-1]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@contextmanager
def running(folder: Path, line: str) -> Iterator[subprocess.Popen[str]]:
    """A line that runs until it is ended, in a process of its own."""
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec env {line}"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    """The next line of a process."""
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the lines name."""
    folder = tmp_path_factory.mktemp("reader")
    for name, module in PROGRAMS.items():
        program(folder / "bin" / name, f"exec '{sys.executable}' -m {module} \"$@\"")
    program(folder / "bin" / "meshwire-heartbeats", 'exec meshwire "$@" --kind heartbeat')
    program(folder / ".venv" / "bin" / "meshwire", 'exec meshwire "$@"')
    for name, text in SCRIPTS.items():
        program(folder / name, text.replace("{folder}", str(folder)))
    skeleton = SKELETON.read_text(encoding="utf-8").replace('"bad-marker"', '"truncated"')
    (folder / "my-codec.py").write_text(skeleton, encoding="utf-8")
    shutil.copytree(ROOT / "conformance" / "gate", folder / "conformance" / "gate")
    (folder / "DIR").mkdir()
    (folder / "capture.bin").write_bytes(TOMBSTONE)
    sent = preamble() + data_record(2, bytes.fromhex("010000018bcfe56801"), fin=True)
    packets = [tcp((40001, 4711), 0, 0x02, b""), tcp((40001, 4711), 1, 0x18, sent)]
    capture = pcapng([(0, ip4(packet)) for packet in packets], (RAW,))
    (folder / "capture.pcapng").write_bytes(capture)
    heartbeats = "--kind heartbeat --quiet --report"
    prepare(folder, f"meshwire check stdio:./my-codec {heartbeats} json=old.json", 1)
    prepare(folder, f"meshwire check stdio:./codec {heartbeats} json=new.json")
    prepare(folder, "meshwire ledger write known.toml old.json --reason 'issue 12'")
    known = (folder / "known.toml").read_text(encoding="utf-8")
    (folder / "my-ledger.toml").write_text(known, encoding="utf-8")
    more = '\n[[known]]\nid = "MW-1001"\nreason = "r"\nsymptom = "accepted"\n'
    (folder / "old.toml").write_text(known + more, encoding="utf-8")
    prepare(folder, "meshwire-node keygen --secret secret.txt")
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of the folder for one line."""
    return Path(shutil.copytree(template, tmp_path / "reader", symlinks=True))


@pytest.fixture(scope="module")
def port(template: Path) -> Iterator[str]:
    """The port of a node that runs beside the lines, in place of 4711."""
    with running(template, "meshwire-node run --listen tcp://127.0.0.1:0 --open") as process:
        yield json.loads(first_line(process))["addresses"][0].rsplit(":", 1)[1]


def free_ports(count: int) -> list[str]:
    """Ports that nothing listens on."""
    found = [socket.socket() for _ in range(count)]
    for one in found:
        one.bind(("127.0.0.1", 0))
    ports = [str(one.getsockname()[1]) for one in found]
    for one in found:
        one.close()
    return ports


def is_session(lines: tuple[str, ...]) -> bool:
    """Return True for the block whose lines are one session of a shell."""
    return any(line.startswith("kill %1") for line in lines)


def is_mesh(lines: tuple[str, ...]) -> bool:
    """Return True for the session in which nodes enroll."""
    return any("mesh create" in line for line in lines)


def is_pair(lines: tuple[str, ...]) -> bool:
    """Return True for the block with an implementation that dials the suite."""
    return any("tcp-listen:" in line for line in lines)


EVERY = [
    (lines, line)
    for _, lines in blocks()
    for line in map(without_comment, lines)
    if line and not line.startswith(tuple(NOT_RUN))
]
ALONE = list(
    dict.fromkeys(
        line
        for lines, line in EVERY
        if not is_session(lines) and not (is_pair(lines) and "4711,4712" in line)
        if not re.match(r"(MESHWIRE_\w+=\S+ )?meshwire-node run", line)
    )
)
NODES = list(
    dict.fromkeys(
        line
        for lines, line in EVERY
        if not is_session(lines) and re.match(r"(MESHWIRE_\w+=\S+ )?meshwire-node run", line)
    )
)
MESH = next(lines for _, lines in blocks() if is_mesh(lines))
SESSION = next(lines for _, lines in blocks() if is_session(lines))
LISTENING = next(line for lines, line in EVERY if is_pair(lines) and "4711,4712" in line)


def prepared(folder: Path, line: str) -> str:
    """Return a line with its placeholders filled in, and the way free for what it writes."""
    written = re.search(r"ledger write (\S+)", line)
    if written:
        (folder / written[1]).unlink()
    # The ledger of deployed peers is not that of my-codec.
    target = "stdio:./codec" if "peat-mesh" in line else "stdio:./my-codec"
    line = re.sub(r"\bTARGET\b(?!=)", target, line)
    more = next((text for pattern, text in FEWER if pattern.search(line)), "")
    return f"{line} {more}".rstrip()


@pytest.mark.parametrize("line", ALONE)
def test_a_line_of_a_page_does_what_it_says(line: str, folder: Path, port: str) -> None:
    """It ends with 0, or as the table says; what it names is there.

    `./node` is the node that runs beside the lines, unless the line gives it options: a start of it
    for each would cost most of all.
    """
    if line.startswith("xxd ") and shutil.which("xxd") is None:
        pytest.skip("no xxd: its line was not run")
    script = prepared(folder, line).replace("4711", port)
    script = script.replace('"node:./node"', f"tcp://127.0.0.1:{port}")
    done = shell(folder, script)

    assert done.returncode == ENDS.get(line, 0), output_of(done)


@pytest.mark.parametrize("line", NODES)
def test_a_node_of_a_page_gets_ready_and_ends_when_it_is_told_to(
    line: str, folder: Path, port: str
) -> None:
    """It prints its line on standard output, and SIGTERM ends it with 0."""
    with running(folder, line.replace("4711", port).replace("4712", port)) as process:
        assert json.loads(first_line(process))["addresses"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS_MAX) == 0


@pytest.mark.socket
def test_an_implementation_that_dials_the_suite_is_judged(folder: Path) -> None:
    """The last two lines of that block, at the same time: each names the addresses of the other."""
    one, other = free_ports(2)
    dialling = next(line for line in NODES if "4712" in line)

    def with_ports(line: str) -> str:
        return line.replace("4711", one).replace("4712", other)

    with running(folder, with_ports(dialling)):
        done = shell(folder, with_ports(prepared(folder, LISTENING)))

    assert done.returncode == 0, output_of(done)
    assert "every applicable case passed" in done.stdout


class Session:
    """A shell that gets one line after the other, as a reader types them.

    `kill %1` is of shells that control jobs, as interactive ones do; bash does it without a
    terminal too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [shutil.which("bash") or "bash", "--norc"],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End it, after every process that it has started; after a failure at once."""
        with self._process:
            if kind is not None:
                os.killpg(self._process.pid, signal.SIGKILL)
                return
            self.type("wait")
            assert self._process.stdin is not None
            self._process.stdin.close()
            assert self._process.wait(SECONDS_MAX) in {0, 128 + signal.SIGTERM}

    def type(self, text: str) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def read(self) -> str:
        """Return the next line that it or a process of it writes."""
        line = first_line(self._process)
        assert line, "the shell has ended"
        return line

    def ended(self, text: str) -> list[str]:
        """Give it a command, which has to succeed; returns what was written until its end."""
        self.type(f"{text}\necho the end is $?")
        lines = []
        while not (line := self.read()).startswith("the end is "):
            lines.append(line)
        assert line == "the end is 0\n", (text, lines)
        return lines

    def watched(self, text: str, sign: str) -> None:
        """Run a line that follows changes until one shows a sign, then end it as Ctrl-C does."""
        with running(self._folder, text) as process:
            while sign not in (line := first_line(process)):
                assert line, f"{text} ended before {sign} came"
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS_MAX)


@pytest.mark.socket
def test_the_session_of_the_readme_takes_a_document_from_one_node_to_the_third(
    folder: Path,
) -> None:
    """Its lines in their order; where it says to wait, what is waited for has come."""
    if shutil.which("bash") is None:
        pytest.skip("no bash: the session of the README was not run")
    (folder / "secret.txt").unlink()
    ports = dict(zip("123", free_ports(3), strict=True))
    with Session(folder) as session:
        # The ports of three nodes are free ones, so they are in variables.
        for number, free in ports.items():
            session.type(f"port{number}={free}")
        for raw in SESSION:
            line = raw.replace("127.0.0.1:471$n", "127.0.0.1:$(eval echo \\$port$n)")
            line = re.sub(
                r"127\.0\.0\.1:471(\d)", lambda found: f"127.0.0.1:{ports[found[1]]}", line
            )
            text = without_comment(line)
            if "wait until each has printed its ready line" in line:
                assert all(json.loads(session.read())["addresses"] for _ in ports)
            elif " get " in text:
                # The document arrives a moment later.
                session.watched(text.replace(" get ", " watch ").removesuffix(" n1"), '"n1"')
                assert "first" in "".join(session.ended(text))
            elif " watch " in text:
                session.watched(text, '"n1"')
            elif text.startswith(("for ", "done", "kill")) or raw.startswith("  "):
                session.type(text)
            elif text:
                session.ended(text)


def run_of_mesh(session: Session, raw: str, text: str) -> None:
    """Run a line of the session in which nodes enroll, as it is on the page and as it is run."""
    if " get " in text:
        session.watched(text.replace(" get ", " watch ").removesuffix(" n1"), '"n1"')
        assert "first" in "".join(session.ended(text))
    elif " peers " in text:
        while "certificate-required" not in "".join(session.ended(text)):
            pass
    elif text.endswith(" revocations"):
        while not "".join(session.ended(text)).startswith("revocations\t"):
            pass
    elif text.startswith(("for ", "done", "kill")) or raw.startswith("  ") or raw.endswith("\\"):
        session.type(text)
    elif text:
        session.ended(text)


@pytest.mark.socket
def test_the_mesh_of_the_readme_enrolls_two_nodes_and_revokes_one(folder: Path) -> None:
    """Its lines in their order; the revoked node is refused by the others, and they go on."""
    if shutil.which("bash") is None:
        pytest.skip("no bash: the session of the README was not run")
    pytest.importorskip("aioquic")
    ports = free_ports(4)
    with Session(folder) as session:
        for number, free in enumerate(ports):
            session.type(f"port{number}={free}")
        ready = 0
        for raw in MESH:
            line = raw.replace("127.0.0.1:472$n", "127.0.0.1:$(eval echo \\$port$n)")
            line = re.sub(
                r"127\.0\.0\.1:472(\d)", lambda found: f"127.0.0.1:{ports[int(found[1])]}", line
            )
            text = without_comment(line)
            if "wait until" in line:
                # What `invite` and `enroll` print comes between the ready lines.
                wanted = 3 if ready else 1
                while ready < wanted:
                    ready += "capabilities" in json.loads(session.read())
            else:
                run_of_mesh(session, raw, text)
    uses = [json.loads(path.read_text("ascii")) for path in (folder / "mesh").rglob("*.used")]

    assert {use["node_id"] for use in uses} == {"node-2", "node-3"}


def test_every_line_is_run_or_has_its_reason() -> None:
    """Nothing of a block is left out by an accident of the patterns."""
    run = {*ALONE, *NODES, LISTENING, *map(without_comment, (*SESSION, *MESH))}
    said = {without_comment(line) for _, lines in blocks() for line in lines} - {""}
    left = {line for line in said - run if not line.startswith(tuple(NOT_RUN))}

    assert left == set()
    assert all(any(line.startswith(name) for line in said) for name in NOT_RUN)
    assert set(ENDS) <= set(ALONE)
    assert len(run) > 70
    assert all(shlex.split(line) for line in ALONE)
