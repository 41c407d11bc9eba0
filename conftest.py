"""Hold every test to its marks: only `socket` opens sockets, only `process` starts processes.

An audit hook sees both, whatever library does it; sockets that foreign code opens by itself (the
iroh library) it does not see. No test measures time: a busy machine must not fail one.

With pytest-xdist the tests of a module run in one worker where they share what its fixtures make,
and the longest tests of all begin first, so that no worker is left alone with one at the end.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings

MARK_OF_EVENT: Final = {
    "socket.bind": "socket",
    "socket.connect": "socket",
    "socket.getaddrinfo": "socket",
    "subprocess.Popen": "process",
    "os.exec": "process",
    "os.fork": "process",
    "os.posix_spawn": "process",
    "os.system": "process",
}

# A process in the background of a shell ignores SIGINT, one under `nohup` SIGHUP, and so do all its
# children. Tests send these signals to themselves and to processes that they start.
for name, default in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)

LONGEST: Final = (
    "conformance/tests/targets/test_iroh.py",
    "conformance/tests/run/test_scripted_peers.py",
    "conformance/tests/run/test_absorbing_peers.py",
    "reference/tests/simulation/",
    "tools/tests/test_kill_puts.py",
    "tools/tests/test_kills.py",
    "tools/tests/test_make_reconciliation.py",
    "tools/tests/test_marks.py",
    "tools/tests/test_oplog_model.py",
)
"""Where tests of more than five seconds are that would otherwise begin among the last."""

settings.register_profile("meshwire", deadline=None)
settings.load_profile("meshwire")


class Watch:
    """The test that runs now, and what it did without the mark for it."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None
        self.breaches: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Fail the test that runs, if it has not the mark for this audit event."""
        mark = MARK_OF_EVENT.get(event)
        if mark is None or self.item is None or self.item.get_closest_marker(mark):
            return
        breach = f"{event} in a test without the mark `{mark}`"
        self.breaches.append(breach)
        # No `except Exception` of the code under test catches this one.
        pytest.fail(breach)


WATCH: Final = Watch()
sys.addaudithook(WATCH)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Watch a test, its fixtures included."""
    WATCH.item = item
    WATCH.breaches.clear()
    try:
        return (yield)
    finally:
        WATCH.item = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Fail a test that went on after it opened a socket or started a process without the mark."""
    yield
    if WATCH.breaches:
        pytest.fail("; ".join(WATCH.breaches))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return how tests are divided among the workers, for `--dist loadgroup`.

    Groups by the marker of the plugin have no effect: it appends them to ids of tests as pytest
    made them before 9.2.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - the plugin may be absent

    class Scheduling(LoadScopeScheduling):
        """Gives out tests one by one, and those of a module that share fixtures together."""

        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return module if shares(config.rootpath / module) else nodeid

    return Scheduling(config, log)


@cache
def shares(module: Path) -> bool:
    """Return True if the tests of a module share what a fixture makes."""
    return 'scope="module"' in module.read_text("utf-8")
