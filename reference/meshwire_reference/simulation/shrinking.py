"""Shrinking of a plan that fails: fewer steps and fewer nodes, with the same invariant broken.

Steps are left out in ever smaller parts, then nodes one by one with what concerns them, until
nothing more can be left out or the tries are used up.
"""

from collections.abc import Callable
from typing import Final

from meshwire_reference.simulation.judging import Invariant, Verdict, judge
from meshwire_reference.simulation.plan import Plan

TRIES_MAX: Final = 300
Judge = Callable[[Plan], Verdict]


class Shrinking:
    """The search for a smaller plan that breaks an invariant."""

    def __init__(self, verdict: Verdict, run: Judge = judge, tries: int = TRIES_MAX) -> None:
        self.smallest = verdict
        self.tries_left = tries
        self._invariant: Invariant = verdict.problems[0].invariant
        self._run = run

    def shrink(self) -> Verdict:
        """Return the verdict on the smallest plan that was found."""
        before = None
        while before is not self.smallest and self.tries_left:
            before = self.smallest
            self._drop_steps()
            self._drop_nodes()
        return self.smallest

    def _try(self, plan: Plan) -> bool:
        """Run a plan and keep it if it breaks the invariant too."""
        if not self.tries_left:
            return False
        self.tries_left -= 1
        verdict = self._run(plan)
        has_failed = any(problem.invariant is self._invariant for problem in verdict.problems)
        if has_failed:
            self.smallest = verdict
        return has_failed

    def _drop_steps(self) -> None:
        """Leave out steps, at first half of them at a time."""
        part = max(1, len(self.smallest.plan.steps) // 2)
        while True:
            at = 0
            while at < len(self.smallest.plan.steps):
                plan = self.smallest.plan
                dropped = plan.steps[at : at + part]
                kept = [step.number for step in plan.steps if step not in dropped]
                if not self._try(plan.only(steps=kept)):
                    at += part
            if part == 1:
                return
            part = max(1, part // 2)

    def _drop_nodes(self) -> None:
        """Leave out nodes one by one."""
        for node in self.smallest.plan.nodes:
            plan = self.smallest.plan
            if len(plan.nodes) == 1:
                return
            fewer = plan.only(nodes=[one for one in plan.nodes if one != node])
            # Nodes that nothing connects hold different documents, however right they are.
            if fewer.is_connected:
                self._try(fewer)
