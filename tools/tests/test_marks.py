"""Tests that open sockets or start processes carry the mark for it, and how workers share tests."""

import ast
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.process
CONFTEST = Path(__file__).resolve().parents[2] / "conftest.py"

SOCKET = "import socket\n    with socket.socket() as end:\n        end.bind(('127.0.0.1', 0))"
PROCESS = "import subprocess, sys\n    subprocess.run([sys.executable, '-c', ''], check=True)"
ASYNC_PROCESS = (
    "import asyncio, sys\n"
    "    async def start():\n"
    "        await (await asyncio.create_subprocess_exec(sys.executable, '-c', '')).wait()\n"
    "    asyncio.run(start())"
)
SWALLOWED = (
    "import socket\n"
    "    try:\n"
    "        socket.getaddrinfo('127.0.0.1', 80)\n"
    "    except BaseException:\n"
    "        pass"
)
IN_A_FIXTURE = (
    "pass\n\n"
    "@pytest.fixture(autouse=True, scope='module')\n"
    "def peer():\n"
    "    import subprocess, sys\n"
    "    subprocess.run([sys.executable, '-c', ''], check=True)"
)


def outcomes(pytester: pytest.Pytester, mark: str, body: str) -> dict[str, int]:
    """Run one test with the marks of this project; return what became of it."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers =\n    socket: x\n    process: x\n")
    decorator = f"@pytest.mark.{mark}\n" if mark else ""
    pytester.makepyfile(f"import pytest\n\n{decorator}def test_it():\n    {body}\n")
    return pytester.runpytest_subprocess("-p", "no:cacheprovider").parseoutcomes()


@pytest.mark.parametrize("body", [SOCKET, PROCESS, ASYNC_PROCESS, SWALLOWED])
def test_breach_fails_the_test(pytester: pytest.Pytester, body: str) -> None:
    """A socket or a process without the mark fails the test, also where the code catches all."""
    assert outcomes(pytester, "", body) == {"failed": 1}


@pytest.mark.parametrize(("mark", "body"), [("process", SOCKET), ("socket", PROCESS)])
def test_one_mark_does_not_allow_the_other(pytester: pytest.Pytester, mark: str, body: str) -> None:
    """Each mark allows one thing."""
    assert outcomes(pytester, mark, body) == {"failed": 1}


def test_fixture_counts_as_the_test(pytester: pytest.Pytester) -> None:
    """A process that a fixture starts needs the mark as well."""
    assert outcomes(pytester, "", IN_A_FIXTURE) == {"errors": 1}


@pytest.mark.parametrize(("mark", "body"), [("socket", SOCKET), ("process", PROCESS)])
def test_marked_test_passes(pytester: pytest.Pytester, mark: str, body: str) -> None:
    """With its mark a test may do what the mark says."""
    assert outcomes(pytester, mark, body) == {"passed": 1}


SHARED = """
    import os, pathlib, pytest

    @pytest.fixture(scope="module")
    def made():
        pathlib.Path("made-" + os.environ["PYTEST_XDIST_WORKER"]).touch()

    @pytest.mark.parametrize("number", range(8))
    def test_it(made, number):
        pass
"""


def test_what_a_fixture_makes_for_a_module_is_made_once(pytester: pytest.Pytester) -> None:
    """Its tests run in one worker, however many there are."""
    pytest.importorskip("xdist")
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers =\n    socket: x\n    process: x\n")
    pytester.makepyfile(SHARED)
    outcome = pytester.runpytest_subprocess("-n", "2", "--dist", "loadgroup").parseoutcomes()

    assert outcome == {"passed": 8}
    assert len(list(pytester.path.glob("made-*"))) == 1


def test_what_begins_first_is_there() -> None:
    """A module that was renamed would begin where its name stands."""
    (longest,) = (
        ast.literal_eval(one.value)
        for one in ast.parse(CONFTEST.read_text("utf-8")).body
        if isinstance(one, ast.AnnAssign) and ast.unparse(one.target) == "LONGEST" and one.value
    )

    assert longest
    assert [name for name in longest if not (CONFTEST.parent / name).exists()] == []
