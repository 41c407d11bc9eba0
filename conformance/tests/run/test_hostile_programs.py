"""Programs that flood, hang, start others or say what no text can hold: the suite ends, and soon.

Whether a program has gone is seen at a named pipe whose only writer it is.
"""

import asyncio
import json
import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from progress_lines import said

from meshwire_conformance.codec_suite.part import run
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete, SuiteError, UsageError
from meshwire_conformance.report.ledger import read_ledger
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.targets import stdio
from meshwire_conformance.targets.attach import attach
from meshwire_conformance.targets.base import parse_target
from meshwire_conformance.targets.facts import read_target_file
from meshwire_conformance.targets.stdio import Ending, Harness
from turns import all_wait

pytestmark = pytest.mark.process

FAST = Settings(timeout_scale=0.02)
HOLDS = "import os,signal,sys; os.write(os.open(sys.argv[1], os.O_WRONLY), b'x'); "
"""Opens the named pipe and says so."""
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
STAYS = "sys.stdout.write({line!r}); sys.stdout.flush(); signal.pause()"
FLOODS = "import os\nwhile True: os.write(1, {data!r} * 65536)"


def python(script: str, *arguments: str) -> str:
    """The command line that runs a script."""
    return shlex.join([sys.executable, "-c", script, *arguments])


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A named pipe, and what reads from it until no writer is left."""
    path = tmp_path / "held"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read_all() -> bytes:
        os.set_blocking(reader, True)
        with os.fdopen(os.dup(reader), "rb") as file:
            return file.read()

    yield str(path), read_all
    os.close(reader)


@pytest.mark.parametrize("data", [b"\n", b"\0", b"x\n"], ids=["newlines", "zeros", "lines"])
def test_a_flood_of_nothing_ends(data: bytes) -> None:
    """Bytes that nobody reads any more keep no pipe open."""
    command = python(FLOODS.format(data=data))
    cases = load_catalogue().select(["MW-1001"])
    target = Attachment("stdio", command, "stdio:flood")

    with pytest.raises(Incomplete, match="hello"):
        asyncio.run(run(cases, load_catalogue(), target, FAST, lambda _result: None))


@pytest.mark.parametrize("scheme", ["stdio", "node"])
def test_what_a_shell_has_started_ends_with_it(
    scheme: str, pipe: tuple[str, Callable[[], bytes]], capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where it does not heed the request to end."""
    path, read_all = pipe
    program = python(IGNORES + HOLDS + STAYS.format(line='{"error": 1}\n'), path)
    command = shlex.join(["sh", "-c", f"{program} & wait"])
    target = parse_target(f"{scheme}:{command}")

    settings = Settings(timeout_scale=10)
    cases = load_catalogue().select(["MW-1001"])
    codec = run(cases, load_catalogue(), target, settings, lambda _result: None)
    started = attach(target, settings) if scheme == "node" else codec

    with pytest.raises(Incomplete):
        asyncio.run(started)  # type: ignore[arg-type]
    codec.close()

    assert read_all() == b"x"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("scheme", ["stdio", "node"])
def test_the_end_of_the_suite_is_the_end_of_what_it_started(
    scheme: str, pipe: tuple[str, Callable[[], bytes]], tmp_path: Path
) -> None:
    """SIGTERM ends the run like an interrupt: no traceback, no verdict, no children left."""
    path, _read_all = pipe
    target = f"{scheme}:{python(HOLDS + STAYS.format(line=''), path)}"
    command = [sys.executable, "-m", "meshwire_conformance.commands.main", "check", target]
    words = [*command, "--timeout-scale", "100"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as suite:
        with Path(path).open("rb") as opened:
            assert opened.read(1) == b"x"
            suite.send_signal(signal.SIGTERM)
            assert opened.read() == b""
        assert suite.stderr is not None
        stderr = suite.stderr.read()

    assert len(said(stderr).splitlines()) <= 1
    assert suite.returncode > 1


@pytest.mark.parametrize("scheme", ["stdio", "node"])
@pytest.mark.parametrize("behind", ["", "& wait"], ids=["itself", "grandchild"])
def test_a_killed_suite_leaves_no_target(
    scheme: str, behind: str, pipe: tuple[str, Callable[[], bytes]], tmp_path: Path
) -> None:
    """SIGKILL leaves the suite no moment to end anything, nor its group of processes.

    The secret of the run is removed first.
    """
    path, read_all = pipe
    program = python(IGNORES + HOLDS + STAYS.format(line=""), path)
    target = f"{scheme}:{shlex.join(['sh', '-c', f'{program} {behind}'])}"
    command = [sys.executable, "-m", "meshwire_conformance.commands.main", "check", target]
    words = [*command, "--timeout-scale", "100"]
    folder = tmp_path / "temporary files"
    folder.mkdir()
    where = {**os.environ, "TMPDIR": str(folder)}
    with (
        subprocess.Popen(words, cwd=tmp_path, env=where, start_new_session=True) as suite,
        Path(path).open("rb") as opened,
    ):
        assert opened.read(1) == b"x"
        os.killpg(suite.pid, signal.SIGKILL)
        # Nobody can write to the pipe any more.
        has_gone = select.poll()
        has_gone.register(opened, select.POLLHUP)
        assert has_gone.poll(30_000)
    assert read_all() == b""
    assert list(folder.iterdir()) == []


def test_an_interrupted_end_is_an_end(pipe: tuple[str, Callable[[], bytes]]) -> None:
    """A cancelled close of a harness still ends its program."""
    path, read_all = pipe

    async def interrupted() -> None:
        line = '{"id": 0}\n'
        harness = Harness(python(HOLDS + STAYS.format(line=line), path), 30, 30, FAST.trace)
        await harness.start()
        await harness.converse({0: "{}"})
        closing = asyncio.create_task(harness.close())
        # It waits for the end, which does not come.
        await all_wait()
        closing.cancel()
        await closing

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())

    assert read_all() == b"x"


def test_a_command_that_is_over_at_once_leaves_no_warning(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its exit status is left to who waits for it."""
    with pytest.raises(Incomplete, match="ended before its ready line"):
        asyncio.run(attach(parse_target("node:true"), Settings()))

    assert capfd.readouterr().err == ""


def test_half_a_surrogate_is_told_as_its_number() -> None:
    """JSON can say what no text can hold: it is escaped where it comes in."""
    line = json.dumps({"id": 0, "\ud800": ["\udfff", {"field": "é\ud800"}]})

    async def ask() -> object:
        harness = Harness(python(f"print({line!r}, flush=True); input()"), 30, 30, FAST.trace)
        await harness.start()
        spoken = await harness.converse({0: "{}"})
        await harness.close()
        assert spoken.ending is Ending.ANSWERED
        return spoken.answers[0]

    assert asyncio.run(ask()) == {"id": 0, "\\ud800": ["\\udfff", {"field": "é\\ud800"}]}


def test_answers_that_fill_the_memory_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a sum, long ones count as answers without a word in them; short ones stay."""
    monkeypatch.setattr(stdio, "KEPT_MAX", 2 * stdio.LONG)
    sizes = [stdio.LONG, stdio.LONG, stdio.LONG, 1]
    script = f'for i, n in enumerate({sizes}): print(\'{{"id":%d,"x":"%s"}}\' % (i, \'a\' * n))'

    async def ask() -> dict[int, dict[str, object]]:
        harness = Harness(python(f"{script}\ninput()"), 30, 30, FAST.trace)
        await harness.start()
        spoken = await harness.converse(dict.fromkeys(range(len(sizes)), "{}"))
        await harness.close()
        return spoken.answers

    assert [len(str(answer.get("x", ""))) for answer in asyncio.run(ask()).values()] == [
        *(stdio.LONG, 0, 0, 1)
    ]


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("node:'", UsageError),
        ("stdio:'", UsageError),
        (f"tcp://{'a' * 300}:1", UsageError),
        (f"node:{python('print(chr(91) * 500_000)')}", Incomplete),
        (f"node:{python('print(chr(57) * 10_000)')}", Incomplete),
    ],
    ids=["quote", "quote of a codec", "long host", "deep ready line", "long number"],
)
def test_targets_that_cannot_be_read_are_told(target: str, error: type[SuiteError]) -> None:
    """Each ends in one clear line, no traceback."""
    settings = Settings(writes_are_ok=True)

    async def begin() -> None:
        attachment = parse_target(target)
        if attachment.scheme == "stdio":
            await run([], load_catalogue(), attachment, settings, lambda _result: None)
        else:
            await attach(attachment, settings)

    with pytest.raises(error) as caught:
        asyncio.run(begin())

    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [b"a=" + b"[" * 100_000, b"\xff"], ids=["deep", "no text"])
def test_files_that_cannot_be_read_are_told(content: bytes, tmp_path: Path) -> None:
    """A target file and a ledger alike."""
    path = tmp_path / "file.toml"
    path.write_bytes(content)

    with pytest.raises(UsageError, match="cannot be read"):
        read_target_file(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_ledger(path, load_catalogue())


CODEC = f"stdio:'{sys.executable}' -m meshwire_reference.cli codec"
REDIRECTIONS = {
    "full output": ("> /dev/full", 2, "cannot be written"),
    "closed output": (">&-", 2, "standard output is closed"),
    "closed output and errors": (">&- 2>&-", 2, ""),
    "closed errors": ("2>&-", 0, ""),
    "everything closed but output": ("<&- 2>&-", 0, ""),
}


@pytest.mark.parametrize(("how", "code", "says"), REDIRECTIONS.values(), ids=REDIRECTIONS)
def test_closed_and_full_streams_are_no_violation(how: str, code: int, says: str) -> None:
    """The exit code is that of the verdict, or 2 where the report cannot be written."""
    words = [
        sys.executable,
        "-m",
        "meshwire_conformance.commands.main",
        "check",
        CODEC,
        "--only",
        "MW-1001",
    ]
    script = f"{shlex.join(words)} {how}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)  # noqa: S607 - sh is everywhere

    assert done.returncode == code, done.stderr
    assert ("exit 0" in done.stdout) == (code == 0)
    assert says in done.stderr
    assert len(said(done.stderr).splitlines()) == bool(says)


def test_a_name_that_is_no_text_is_told() -> None:
    """Names without a UTF-8 form are escaped."""
    words = [sys.executable, "-m", "meshwire_conformance.commands.main", "check", b"stdio:/no/\xff"]
    done = subprocess.run(words, capture_output=True, check=False)

    assert done.returncode == 3
    assert b"Traceback" not in done.stderr


def test_the_current_directory_lends_no_modules(tmp_path: Path) -> None:
    """A file in the current folder does not replace a module of the standard library."""
    for name in ("json", "asyncio", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hijacked')")
    words = [sys.executable, "-P", "-m", "meshwire_conformance.commands.main", "check"]
    only = ["--only", "MW-1001", "--only", "MW-5901"]
    done = subprocess.run(
        [*words, *only], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert done.returncode == 0, done.stdout + done.stderr
