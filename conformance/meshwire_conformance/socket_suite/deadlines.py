"""How long the suite waits: measured once on the target, scaled by the caller, never fixed."""

from __future__ import annotations

from dataclasses import dataclass

FLOOR_S = 1.0
MEDIANS = 50
MARGIN_S = 1.0
"""What a deadline of the target's own may take beyond what it declares, before scaling."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The deadline of a run; `median_s` is None where the calibration got no answer."""

    median_s: float | None
    scale: float

    @property
    def seconds(self) -> float:
        """How long an answer may take."""
        return max(FLOOR_S, MEDIANS * (self.median_s or 0.0)) * self.scale

    def beyond(self, declared_s: float) -> float:
        """How long to wait for something that the target does after a deadline of its own."""
        return declared_s + max(MARGIN_S, self.seconds / 2) * self.scale

    def describe(self) -> str:
        """One line for the report."""
        if self.median_s is None:
            return f"deadline {self.seconds:.2f} s; the calibration got no answer"
        return (
            f"deadline {self.seconds:.2f} s; median of the calibration {self.median_s * 1e3:.1f} ms"
        )
