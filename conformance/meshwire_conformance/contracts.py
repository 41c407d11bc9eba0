"""Types shared by the parts of the suite: an attachment, the settings of a run, and a part."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.verdicts import CaseResult
from meshwire_spec.schemas.base import Level
from meshwire_spec.schemas.targets import NodeFacts

Progress = Callable[[CaseResult], None]
"""Called once for each case when it is over; a watch can still change its verdict."""

TraceLine = Callable[[Mapping[str, Any]], None]
"""Called with one JSON object for each thing sent, received or noted; does nothing untraced."""


def untraced(line: Mapping[str, Any]) -> None:
    """Discard a trace line; used if the run is not traced."""


Named = Callable[[Mapping[str, str]], None]
"""Called with `name` and `version` when a target states them."""


def unnamed(names: Mapping[str, str]) -> None:
    """Discard the name and version of a target."""


Expects = Callable[[str, str], bool]
"""Returns True if a ledger expects a case to fail with a symptom."""


def expects_nothing(case: str, symptom: str) -> bool:
    """Return False; used without a ledger."""
    return False


def predicts_nothing(case: str) -> bool:
    """Return False; used without a ledger."""
    return False


Ended = Callable[[], str]
"""Returns why the run is over before its last case, or an empty text while it goes on."""


def goes_on() -> str:
    """Return an empty text; used if no number of violations ends the run."""
    return ""


Said = Callable[[str], None]
"""Called with a sentence about the target that belongs to no case."""


def unsaid(text: str) -> None:
    """Discard what is said of a target."""


WaitsFor = Callable[[str], AbstractContextManager[None]]
"""Called with the id of a case; returns a context that lasts while the target is waited for."""


def unseen(case: str) -> AbstractContextManager[None]:
    """Return a context that does nothing; used if no progress is shown."""
    return nullcontext()


Alone = Callable[[], AbstractAsyncContextManager[None]]
"""Returns a context that is entered once every other attachment is over, or waits for the same."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """One way to attach to one target.

    `scheme` and `location` are the two halves of the target text ("tcp", "127.0.0.1:4040";
    "stdio" and "node" have a command line). `facts` is what a target file states, None
    without one, `variant` names this attachment in the report where a run has several
    of one scheme (the dialect, say), and `command` what follows `meshwire check` to attach so.
    `serial_cases_in` names the variant that runs the serial cases of the same node, if this one
    does not run them. `shared_with` are variants of the same node, this one among them, of which
    one runs each case that fits all of them. With `only`, a list of needs separated by spaces, it
    runs just the cases that have all needs of one entry, and with `dialled` those too of which the
    seed says that the target dials their connection. With `beside` it may run while other
    attachments do: its process is its own, and uses nothing of theirs, such as a port. `control` is
    the control socket of a target that the suite has not started.
    """

    scheme: str
    location: str
    text: str
    facts: NodeFacts | None = None
    variant: str = ""
    command: str = ""
    serial_cases_in: str = ""
    shared_with: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    dialled: bool = False
    beside: bool = False
    control: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a run; `seed` determines every random choice of the suite.

    With `keeps_order` the cases start in the order in which a part receives them. With `ends_early`
    a part reports each case as soon as it is judged, and begins none once `ended` says why.
    """

    level: Level = "strict"
    timeout_scale: float = 1.0
    seed: int = 0
    writes_are_ok: bool = False
    trace: TraceLine = untraced
    named: Named = unnamed
    expects: Expects = expects_nothing
    predicts: Callable[[str], bool] = predicts_nothing
    """Returns True if a ledger expects a case to fail, with whatever symptom."""
    keeps_order: bool = False
    ends_early: bool = False
    ended: Ended = goes_on
    said: Said = unsaid
    met: Said = unsaid
    """Called with each line about the first connection to a target."""
    tells: Said = unsaid
    """Called with a line for the person who has to act now, as by starting what dials."""
    waits_for: WaitsFor = unseen
    alone: Alone = nullcontext
    """Called for what has to run while no other attachment uses the machine."""

    def generator(self, name: str) -> random.Random:
        """Return a random generator for the purpose `name`; equal for equal seeds."""
        return random.Random(f"{self.seed}:{name}")


Part = Callable[
    [Sequence[Case], Catalogue, Attachment, Settings, Progress], Awaitable[list[CaseResult]]
]
"""A part of the suite: judges cases over one attachment; controls are taken from the catalogue.

It returns one result per case, none missing and none twice, also when the peer dies, hangs or
floods, never raises for what a peer does, and raises Incomplete if the target cannot be reached at
all.
"""
