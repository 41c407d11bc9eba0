"""Decides which rules of the pages a vector shows."""

import re
from collections.abc import Sequence

from meshwire_spec.rules import Rule, load_rules

LATER = r"\[[1-9]\d*\]"
NO_FAULT = "(?!greatest|zero|empty|trailing|control|unknown|nested|last-|leading|other)"
"""Not before the classes that make no fault of an element."""
SPECIAL = {
    "FR-004": r"\|payload\.length\|",
    "FR-007": r"$^",
    "ER-004": r"$^",
    "CH-021": r"$^",
    "CH-022": r"$^",
    "FR-010": r"\|key\|frame-key|\|type\|",
    "FR-020": r"\|key\|(over-limit|under-limit|empty)|\|key\.length\|",
    "FR-021": r"\|key\|frame-key",
    "FR-022": r"bad-key-(no-colon|reserved-batch|reserved-negentropy)|control-character-none",
    "FR-023": r"bad-key-(collection|empty-collection)|\|key\|(at-limit|grammar|leading-mark)",
    "FR-024": r"bad-key-(empty-id|nul|newline|delete|c1|id)|control-character|\|key\|shortest"
    r"|last-newline",
    "FR-025": r"bad-key-(reserved|collection-tombstones)",
    "FR-026": r"several-colons",
    "BT-004": r"payload\.length\|",
    "BT-006": r"type\|",
    "BT-009": r"type\|",
    "BT-007": r"^sync_entry\|key.*\|(over-limit|under-limit|at-limit|shortest|empty|bad-key)",
    "BT-008": r"^sync_entry\|key\|frame-key",
    "BT-011": r"\|(batch\.)?(batch_id|created_at|ttl|entry_count)\|truncated",
    "BT-002": r"entr|^sync_entry",
    "BT-003": r"entr|^sync_entry",
    "BT-013": rf"entries{LATER}.*\|{NO_FAULT}",
    "BT-014": rf"entries\[0\].*\|{NO_FAULT}",
    "BT-015": r"extra\||count-short",
    "BT-017": r"\|(batch\.)?(batch_id|created_at|ttl)\|(greatest|zero|above)",
    "BT-019": r"\|entries\|empty",
    "BT-032": r"^channel_record\|(marker|batch|batch\.length)\|",
    "BT-034": r"\|batch\.length\|",
    "TS-007": r"\|collection\|",
    "TS-008": r"\|document_id\|",
    "TS-009": r"extra\|",
    "TS-011": r"reason\|(shortest|empty)",
    "TS-022": r"tombstones\[0\]|tombstone_count\|truncated",
    "TS-023": rf"tombstones{LATER}",
    "TS-024": r"^tombstone_batch\|.*(extra\||count-short|trailing)",
    "NG-004": r"prefix\|over-limit|prefix\|length",
    "NG-005": r"timestamp\|(over-limit|greatest)",
    "NG-006": r"after-infinity|\|trailing",
    "NG-010": r"\|ranges\|empty",
    "NG-011": r"not-increasing|same-second",
    "LV-004": r"extra\|",
    "LV-006": r"sent_at\|(greatest|zero|above)",
    "HS-014": r"\|length\|",
    "HS-017": r"\|formation_id\|",
    "HS-001": r"\|secret\|",
    "HS-002": r"^formation_response\|(formation_id|secret)?\|[^t]|^formation_response\|\|$",
    "HS-003": r"^formation_response\|(formation_id|secret)?\|[^t]|^formation_response\|\|$",
    "HS-016": r"extra\||length\|at-limit",
    "LB-001": r"\|(truncated|trailing)?$|\|(alpn|endpoint)",
    "LB-004": r"\|alpn\|",
    "LB-010": r"\|(endpoint_id|max_\w+)\|",
    "LB-022": r"\|body\.length\|",
    "LB-026": r"\(close\)\.reason",
    "EN-016": r"\|certificate",
    "EN-017": r"$^",
    "HS-058": r"\|version\|",
    "HS-018": r"^formation_result\|(result)?\|(value|greatest|zero|$)",
}
"""Patterns over `kind|field|fault` of the vectors that show a rule.

A rule without an entry is shown by every vector of its kinds that has its reason; a rule without a
reason, by every positive.
"""


BOUNDARY = ("at-limit", "shortest", "grammar")
"""Classes of positives that show the legal side of a rule that refuses."""


def rules_for(
    kind: str, field: str, fault: str, *, rejected: bool, reasons: Sequence[str]
) -> list[Rule]:
    """Return the rules that a vector shows, usually one; none if the pages have none."""
    place = f"{kind}|{field}|{fault}"
    found = []
    for rule in load_rules():
        if kind not in rule.kinds or "codec" not in rule.seen:
            continue
        pattern = SPECIAL.get(rule.id)
        if pattern is not None and not re.search(pattern, place):
            continue
        special = pattern is not None
        if rejected:
            fits = _refuses(rule, reasons, special=special)
        else:
            fits = _allows(rule, fault, special=special)
        if fits:
            found.append(rule)
    return found


def _refuses(rule: Rule, reasons: Sequence[str], *, special: bool) -> bool:
    # A rule without a reason refuses if its sentence says so.
    return rule.reason in reasons or (special and not rule.reason and "refuse" in rule.text)


def _allows(rule: Rule, fault: str, *, special: bool) -> bool:
    return not rule.reason or (special and fault.endswith(BOUNDARY))


def wire_result(strict: str, rules: Sequence[Rule]) -> str:
    """Return the result that level wire demands.

    It is the same as strict if the rules that decide are of level wire.
    """
    if strict == "reject":
        deciding = [rule for rule in rules if rule.reason] or list(rules)
        return strict if any(rule.level == "wire" for rule in deciding) else "any"
    deciding = [rule for rule in rules if not rule.reason] or list(rules)
    return strict if all(rule.level == "wire" for rule in deciding) else "any"
