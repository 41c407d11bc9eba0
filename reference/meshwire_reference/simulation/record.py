"""The record of a run: its trace as a digest, and how often everything occurred."""

from collections import Counter
from hashlib import sha256

from meshwire_reference.core.counts import Statistics


class RunRecord:
    """The trace and the counts of a run; with `keeps_lines` the trace itself too."""

    def __init__(self, *, keeps_lines: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.lines: list[str] | None = [] if keeps_lines else None
        self._digest = sha256()

    def note(self, at_s: float, who: str, what: str, data: bytes = b"") -> None:
        """Add a line to the trace; `data` belongs to it, and is shown by its size alone."""
        line = f"{at_s:.6f} {who} {what} {len(data)}"
        self._digest.update(line.encode())
        self._digest.update(data)
        if self.lines is not None:
            self.lines.append(line)

    def count(self, kind: str, name: object, by: int = 1) -> None:
        """Count something that has occurred."""
        self.counts[f"{kind}: {name}"] += by

    def count_statistics(self, statistics: Statistics) -> None:
        """Add the counters of a core that has ended."""
        for kind, counter in (
            ("frame", statistics.frames),
            ("refused", statistics.refused),
            ("ignored", statistics.ignored),
            ("applied", statistics.applied),
        ):
            for name, number in sorted(counter.items(), key=str):
                self.count(kind, name, number)

    @property
    def digest(self) -> str:
        """SHA-256 of the trace so far."""
        return self._digest.hexdigest()
