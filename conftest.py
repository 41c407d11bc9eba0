"""Hold every test to its marks: only `socket` opens sockets, only `process` starts processes.

An audit hook sees both, whatever library does it; sockets that foreign code opens by itself (the
iroh library) it does not see. With pytest-xdist the tests with sockets of one module run in one
worker, since they share what its fixtures start. No test measures time: a busy machine must not
fail one.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests with sockets of one module into one group, for `--dist loadgroup`."""
    # Without the plugin its marker is unknown, which is an error here.
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if item.get_closest_marker("socket"):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
