"""Causes of failed codec cases: typical mistakes, tried on the vectors that were asked.

A mistake is named as a cause only if a codec with it would have given the answers that came. Of
several that fit, the one that explains most failures and contradicts fewest answers is named first,
and the rest of the failures is looked at again without those that it explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshwire_conformance.codec_suite.judge import Given, Hello
from meshwire_conformance.codec_suite.requests import Ask
from meshwire_spec.planting import Answer, Planted, decoded, encoded, plantable, planted
from meshwire_spec.schemas.vectors import Vector

LINE_MAX = 16_384
"""Characters of a request that are tried: longer ones take time and show nothing more."""
WEIGHT = 2
"""Failures that a mistake must explain for each answer that contradicts it."""
REFUSED = "refused"
"""What is compared of a refusal if a codec gives no reasons."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """One request with the answer that came and the one that is correct."""

    ask: Ask
    vector: Vector
    came: Answer
    correct: Answer


@dataclass(slots=True)
class _Score:
    """What a mistake in one kind predicts: failures that it explains, answers against it."""

    planted: Planted
    says: str
    explained: set[str] = field(default_factory=set)
    contradicted: int = 0

    def rank(self, left: set[str]) -> tuple[int, int]:
        """Return the order of this mistake among those that explain the failures that are left."""
        return len(self.explained & left) - WEIGHT * self.contradicted, -len(self.planted.patches)


def causes_of(
    failed: Iterable[str], pairs: Sequence[tuple[Ask, Given]], hello: Hello
) -> dict[str, str]:
    """Return the cause of each failed case that a typical mistake explains, by the id of the case.

    `failed` are the ids of failed cases, `pairs` all requests about vectors with their answers.
    """
    left = set(failed)
    tried = [one for ask, given in pairs if (one := _tried(ask, given, hello)) is not None]
    if _is_answered_alike(tried):
        return {}
    broken = {one.vector.kind for one in tried if one.ask.case.id in left}
    of_kind: dict[str, list[_Tried]] = {kind: [] for kind in broken}
    for one in tried:
        if one.vector.kind in broken:
            of_kind[one.vector.kind].append(one)
    # A codec may have the mistake in one kind alone, although the schema shares the field.
    scores = [
        _score(one, kind, of_kind[kind], left, hello)
        for one in plantable()
        for kind in sorted(broken & set(one.paths))
    ]
    found: dict[str, str] = {}
    while left:
        best = max(scores, key=lambda score: score.rank(left), default=None)
        if best is None or best.rank(left)[0] <= 0:
            break
        found |= dict.fromkeys(best.explained & left, best.says)
        left -= best.explained
    return found


def _is_answered_alike(tried: Sequence[_Tried]) -> bool:
    """Return True if positives of several kinds were all decoded to the same answer.

    Such a codec reads nothing of the bytes, and no mistake in one field explains it.
    """
    decoded_ones = [one for one in tried if one.ask.op == "decode" and one.correct.error is None]
    kinds = {one.vector.kind for one in decoded_ones}
    return len(kinds) > 1 and all(one.came == decoded_ones[0].came for one in decoded_ones)


def _tried(ask: Ask, given: Given, hello: Hello) -> _Tried | None:
    """Return a request that can be tried, or None for one without an answer or of another sort."""
    vector = ask.case.body
    operation = {"decode": decoded, "encode": encoded}.get(ask.op)
    is_short = len(ask.line) <= LINE_MAX
    if not isinstance(vector, Vector) or operation is None or given.answer is None or not is_short:
        return None
    return _Tried(ask, vector, _came(ask.op, given.answer, hello), _predicted(ask, vector, hello))


def _predicted(ask: Ask, vector: Vector, hello: Hello) -> Answer:
    if ask.op == "encode":
        return _comparable(encoded(vector.kind, vector.value), hello)
    return _comparable(decoded(vector.kind, vector.data), hello)


def _came(op: str, answer: Mapping[str, Any], hello: Hello) -> Answer:
    error, result = answer.get("error"), answer.get("result")
    if error is not None or not isinstance(result, dict):
        reason = error.get("reason") if isinstance(error, dict) else None
        return _comparable(Answer(error=str(reason)), hello)
    if op == "encode":
        return Answer(data=result.get("data"))
    return _comparable(Answer(value=result.get("value"), refused=result.get("refused")), hello)


def _comparable(answer: Answer, hello: Hello) -> Answer:
    """Return an answer without its reasons if the codec gives none."""
    if hello.reasons:
        return answer
    return Answer(
        error=answer.error and REFUSED,
        value=answer.value,
        refused=answer.refused and REFUSED,
        data=answer.data,
    )


def _score(
    one: Planted, kind: str, asked: Sequence[_Tried], failed: set[str], hello: Hello
) -> _Score:
    score = _Score(one, one.says(kind))
    wrong: set[str] = set()
    with planted(one):
        for tried in asked:
            predicted = _predicted(tried.ask, tried.vector, hello)
            if predicted == tried.came:
                if predicted != tried.correct:
                    score.explained.add(tried.ask.case.id)
            else:
                wrong.add(tried.ask.case.id)
                # A failure of another cause says nothing against this one.
                score.contradicted += predicted != tried.correct
    score.explained = (score.explained & failed) - wrong
    return score
