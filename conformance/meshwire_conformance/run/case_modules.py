"""The modules of Python cases: one that is not here is not run.

A module of its own, since importing these takes a third of the time of a run over a codec, which
lists their cases by the index and runs none.
"""

from types import ModuleType
from typing import Final

from meshwire_conformance.cases import (
    alike_keys,
    binding,
    both_dialects,
    clocked,
    controlled,
    credit,
    dialling,
    dialling_frames,
    dialling_results,
    dialling_states,
    early_credit,
    early_refusals,
    first_bytes,
    halves,
    held_offers,
    hostile,
    late_answers,
    late_elements,
    late_ranges,
    leftovers,
    pace,
    quiet,
    reconciliation,
    reconciliation_exact,
    reconciliation_runs,
    reconciling_client,
    side_by_side,
    spread_findings,
    store,
    streams,
)

CASE_MODULES: Final[tuple[ModuleType, ...]] = (
    alike_keys,
    binding,
    both_dialects,
    clocked,
    controlled,
    credit,
    dialling,
    dialling_frames,
    dialling_results,
    dialling_states,
    early_credit,
    early_refusals,
    first_bytes,
    halves,
    held_offers,
    hostile,
    late_answers,
    late_elements,
    late_ranges,
    leftovers,
    pace,
    quiet,
    reconciliation,
    reconciliation_exact,
    reconciliation_runs,
    reconciling_client,
    side_by_side,
    spread_findings,
    store,
    streams,
)
"""What the suite runs, whatever other modules have registered cases, such as those of tests."""
