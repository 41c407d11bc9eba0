"""Counters of what the node decided; one name a row, made when first counted."""

from collections import Counter


class Statistics:
    """Counts frames by type, refusals by reason, and what was ignored by why."""

    def __init__(self) -> None:
        self.frames: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.applied: Counter[str] = Counter()
        self.heartbeats = 0
