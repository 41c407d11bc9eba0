"""The network of a node: the addresses that it listens on, and those that it dials.

It is opened and closed as a whole, as often as the user wants; the store and its documents stay.
Those who wait for peers are woken whenever one of them may have come or gone.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from meshwire_reference.core.effects import Refusal
from meshwire_reference.node.clocks import Clock
from meshwire_reference.node.dialler import Backoff, Dialler, DialState, DialWatch, Serve
from meshwire_reference.node.log import NodeLog
from meshwire_reference.transport.base import (
    Connection,
    ConnectionGone,
    Listener,
    TransportOptions,
)
from meshwire_reference.transport.registry import check_dialled, listen

REFUSALS_MAX: Final = 16
"""Refused connections that are remembered, the latest ones."""


class Signal:
    """Wakes those who wait, as often as it is given."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def give(self) -> None:
        """Wake those who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, which can change only before the signal is given."""
        while not holds():
            await self._event.wait()


class Dial(DialWatch):
    """An address that is dialled: what has become of it, and why.

    `why` is the reason of the last failure, also while the next dial is under way. `peer_id` is the
    endpoint id of who answered there last, None if nobody has. `failures` counts the dials that
    failed and the connections that have ended.
    """

    def __init__(
        self,
        address: str,
        gate: asyncio.Event,
        changed: Signal,
        is_kept: Callable[[bytes], bool] = lambda _peer_id: False,
        failed: Callable[[str], None] = lambda _address: None,
    ) -> None:
        self.address = address
        self._failed = failed
        self._is_kept = is_kept
        self.state = DialState.DIALLING
        self.why = ""
        self.peer_id: bytes | None = None
        self.failures = 0
        self._gate = gate
        self._changed = changed

    async def wait_for_turn(self) -> None:
        """Return when the user wants addresses to be dialled, and no other connection is kept."""
        await self._gate.wait()
        # TR-045
        await self._changed.until(lambda: self.peer_id is None or not self._is_kept(self.peer_id))

    def note(self, state: DialState, why: str = "", peer_id: bytes | None = None) -> None:
        """Take note of a new state."""
        self.state = state
        if state is DialState.LOST:
            self.why = why
        self.peer_id = peer_id or self.peer_id
        self._changed.give()
        if state is DialState.LOST:
            self.failures += 1
            self._failed(self.address)


class Network:
    """The listeners and dials of one node."""

    def __init__(
        self,
        attach: Callable[[Connection], None],
        serve: Serve,
        is_kept: Callable[[bytes], bool],
        random: Callable[[], float],
        *,
        redial_s: float,
        log: NodeLog,
        clock: Clock,
    ) -> None:
        self._attach = attach
        self._serve = serve
        self._is_kept = is_kept
        self._random = random
        self._redial_s = redial_s
        self._log = log
        self._clock = clock
        self._options: TransportOptions | None = None
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self.dials: dict[str, Dial] = {}
        """Every address that was added, in the order of the additions."""
        self.refusals: deque[tuple[int, Refusal]] = deque(maxlen=REFUSALS_MAX)
        """The latest connections that were refused, each with the time in ms since 1970."""
        self.gate = asyncio.Event()
        """Cleared to dial nobody for a while."""
        self.gate.set()
        self.changed = Signal()
        """Given whenever a peer may have come or gone."""

    @property
    def is_open(self) -> bool:
        """True between `open` and `close`."""
        return self._options is not None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses at which the node can be dialled."""
        return tuple(listener.address for listener in self._listeners)

    @property
    def proven_id(self) -> bytes | None:
        """The endpoint id that peers see, None if the node does not listen."""
        return self._listeners[0].endpoint_id if self._listeners else None

    def note_refusal(self, at_ms: int, refusal: Refusal) -> None:
        """Remember the refusal of a connection."""
        self.refusals.append((at_ms, refusal))
        self.changed.give()

    async def open(self, addresses: tuple[str, ...], options: TransportOptions) -> None:
        """Bind every address and dial every one that was added.

        Raises TransportError or OSError for an address; `close` in any case.
        """
        self._options = options
        for address in addresses:
            listener = await listen(address, options)
            self._listeners.append(listener)
            task = asyncio.get_running_loop().create_task(self._accept(listener))
            self._tasks.add(task)
        for dial in self.dials.values():
            self._begin(dial)

    def add(
        self,
        address: str,
        *,
        lab: bool,
        failed: Callable[[str], None] = lambda _address: None,
    ) -> Dial:
        """Keep a connection to an address from now on, whenever the network is open.

        `failed` is called with a new address after each dial that fails and each connection that
        ends. Raises AddressRefused, TransportError.
        """
        known = self.dials.get(address)
        if known is not None:
            known.is_wanted = True
            return known
        check_dialled(address, lab=lab)
        dial = self.dials[address] = Dial(address, self.gate, self.changed, self._is_kept, failed)
        if self.is_open:
            self._begin(dial)
        return dial

    def drop(self, address: str) -> None:
        """Dial an address no more; a connection that is open stays to its end."""
        dial = self.dials.get(address)
        if dial is None:
            return
        dial.is_wanted = False
        if dial.state is not DialState.CONNECTED:
            task = self._dialling.get(address)
            if task is not None:
                task.cancel()
            self._forget(dial)

    def _forget(self, dial: Dial) -> None:
        """Forget an address that is dialled no more."""
        if not dial.is_wanted and self.dials.get(dial.address) is dial:
            del self.dials[dial.address]
            self._dialling.pop(dial.address, None)
            self.changed.give()

    def _begin(self, dial: Dial) -> None:
        assert self._options is not None, "the network is open"
        backoff = Backoff(self._random, self._redial_s)
        dialler = Dialler(self._options, self._serve, self._log, self._clock)
        work = dialler.keep_connected(dial.address, backoff, dial)
        task = asyncio.get_running_loop().create_task(work)
        self._dialling[dial.address] = task
        task.add_done_callback(lambda _: self._forget(dial))

    async def _accept(self, listener: Listener) -> None:
        while True:
            try:
                self._attach(await listener.accept())
            except ConnectionGone:
                return

    async def stop_listening(self) -> None:
        """Accept nobody any more."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.close()

    async def close(self) -> None:
        """Listen and dial no longer; the node closes the connections that are open."""
        await self.stop_listening()
        tasks = [*self._tasks, *self._dialling.values()]
        self._tasks.clear()
        self._dialling.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for dial in self.dials.values():
            dial.note(DialState.DIALLING)
        self._options = None
        self.changed.give()
