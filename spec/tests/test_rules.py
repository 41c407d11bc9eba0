"""The rules as the package loads them."""

import msgspec
import pytest

from meshwire_spec import numbers
from meshwire_spec.rules import Rule, load_rules, refusals, rules_by_id


def test_rules_are_loaded_with_unique_ids() -> None:
    """Every rule has an id of its own, and the anchor equals it."""
    rules = load_rules()

    assert len(rules_by_id()) == len(rules) > 200
    assert [rule.id for rule in rules if rule.anchor != rule.id] == []


def test_a_rule_says_where_it_shows_or_why_nowhere() -> None:
    """Each rule in force has either ways of being seen or the reason of its exclusion."""
    odd = [
        r.id for r in load_rules() if r.level != "withdrawn" and bool(r.seen) == bool(r.excluded)
    ]

    assert odd == []


def test_kinds_and_reasons_are_registered() -> None:
    """Marks of rules name kinds and reasons that exist."""
    rules = load_rules()
    # Vectors of whole reconciliations are of no kind of message.
    kinds = {*numbers.KINDS, "negentropy_run"}
    kinds |= {"oplog_text", "oplog_signature", "oplog_history", "oplog_join", "oplog_canonical"}
    kinds.add("certificate_check")

    assert [(r.id, kind) for r in rules for kind in r.kinds if kind not in kinds] == []
    assert [(r.id, r.reason) for r in rules if r.reason and r.reason not in numbers.REASONS] == []


def test_every_codec_rule_names_its_kinds() -> None:
    """A vector can only cite a rule that says which kinds it is about."""
    assert [rule.id for rule in load_rules() if "codec" in rule.seen and not rule.kinds] == []


def test_every_kind_can_be_truncated_and_overlong() -> None:
    """Each kind has a rule for bytes that end early, and one for bytes after its end."""
    pairs = set(refusals())
    tolerant = {"sync_batch", "tombstone", "tombstone_batch", "heartbeat", "negentropy_message"}

    assert [kind for kind in numbers.KINDS if (kind, "truncated") not in pairs] == []
    assert {k for k in numbers.KINDS if (k, "trailing-bytes") not in pairs} == tolerant


def test_rule_about_every_encoder_names_every_kind() -> None:
    """ER-004 holds for each kind, so its mark lists all of them."""
    assert sorted(rules_by_id()["ER-004"].kinds) == sorted(numbers.KINDS)


def test_unknown_members_are_refused() -> None:
    """A rules file of another form is not read past its surprises."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'[{"id": "FR-001", "more": 1}]', type=list[Rule])
