"""Causes of failed codec cases: typical mistakes, tested on the vectors that were sent.

A mistake is named as a cause only if a codec with this mistake would have given the answers
received. Each is tried in both directions of the codec and in one alone, and over all kinds that
have its field. Of several that fit, the one that explains most failures and contradicts fewest
answers is named first, and the failures that it leaves unexplained are examined again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshwire_conformance.codec_suite.judge import Given, Hello
from meshwire_conformance.codec_suite.requests import Ask
from meshwire_spec.mistakes import UNSAID
from meshwire_spec.planting import (
    Answer,
    MadeIn,
    Planted,
    decoded,
    encoded,
    plantable,
    planted,
)
from meshwire_spec.schemas.vectors import Vector

LINE_MAX = 16_384
"""Characters of a request that are tried: longer ones take time and show little more."""
FAILED_LINE_MAX = 2**19
"""Characters of a request that are tried if its case failed: texts of 65536 bytes fit."""
WEIGHT = 2
"""Failures that a mistake must explain for each answer that contradicts it."""
SURE = 5
"""Values and bytes that a mistake must predict in a kind for each answer that contradicts it.

Errors do not count here: whatever is read at the wrong place ends as `truncated`.
"""
SHARE = 2
"""A mistake that predicts errors alone must explain one of this many failures of a kind."""
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
    """What a mistake predicts for one kind in one direction.

    `failed` are the failures of the kind. `explained` are those of which the mistake predicts every
    answer. `touched` are all cases for which it predicts a failure. `contradicted` is the number of
    answers that differ from the prediction, `exact` the number of wrong values and bytes that equal
    it.
    """

    failed: set[str]
    explained: set[str] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)
    contradicted: int = 0
    exact: int = 0

    def gain(self, left: set[str]) -> int:
        """Return the weight of this kind as evidence for the mistake, given the failures left."""
        mine = len(self.explained & left)
        # Predicted errors agree by chance: alone they are evidence only if they are most failures.
        is_chance = not self.exact and SHARE * mine < len(self.failed & left)
        if is_chance or SURE * self.contradicted > self.exact:
            return 0
        return max(0, mine - WEIGHT * self.contradicted)


@dataclass(slots=True)
class _Candidate:
    """A mistake in one direction with its scores by kind."""

    planted: Planted
    direction: MadeIn
    scores: dict[str, _Score] = field(default_factory=dict)

    def rank(self, left: set[str]) -> tuple[int, int, int]:
        """Return the order of this mistake among those that explain the failures that are left."""
        gain = sum(score.gain(left) for score in self.scores.values())
        contradicted = sum(score.contradicted for score in self.scores.values())
        return gain, -contradicted, -len(self.planted.patches)

    def clears(self, left: set[str]) -> tuple[set[str], set[str], str]:
        """Return what it explains of the failures left, what it touches, and the cause in words."""
        kinds = [kind for kind, score in self.scores.items() if score.gain(left)]
        explained = {name for kind in kinds for name in self.scores[kind].explained}
        touched = {name for kind in kinds for name in self.scores[kind].touched}
        # The shortest path is that of the message in which the field is first.
        kind = min(kinds, key=lambda kind: (len(self.planted.paths[kind]), kind))
        return explained & left, touched, self.planted.says(kind, self.direction)


def causes_of(
    failed: Iterable[str], pairs: Sequence[tuple[Ask, Given]], hello: Hello
) -> dict[str, str]:
    """Return the cause of each failed case that a typical mistake explains, by the id of the case.

    `failed` are the ids of failed cases, `pairs` all requests about vectors with their answers.
    """
    left = set(failed)
    tried = [one for ask, given in pairs if (one := _tried(ask, given, hello, left)) is not None]
    if _is_answered_alike(tried):
        return {}
    broken = {one.vector.kind for one in tried if one.ask.case.id in left}
    of_kind: dict[str, list[_Tried]] = {kind: [] for kind in broken}
    for one in tried:
        if one.vector.kind in broken:
            of_kind[one.vector.kind].append(one)
    candidates = [
        candidate for one in plantable() for candidate in _candidates(one, of_kind, left, hello)
    ]
    found: dict[str, str] = {}
    touched: dict[str, str] = {}
    while left:
        best = max(candidates, key=lambda candidate: candidate.rank(left), default=None)
        if best is None or best.rank(left)[0] <= 0:
            break
        explained, touches, says = best.clears(left)
        found |= dict.fromkeys(explained, says)
        touched = dict.fromkeys(touches, says) | touched
        left -= explained
    # A case that fails with another answer than a named mistake predicts gets that cause too.
    return found | {name: touched[name] for name in left & touched.keys()}


def _is_answered_alike(tried: Sequence[_Tried]) -> bool:
    """Return True if positives of several kinds were all decoded to the same answer.

    Such a codec reads nothing of the bytes, and no mistake in one field explains it.
    """
    decoded_ones = [one for one in tried if one.ask.op == "decode" and one.correct.error is None]
    kinds = {one.vector.kind for one in decoded_ones}
    return len(kinds) > 1 and all(one.came == decoded_ones[0].came for one in decoded_ones)


def _tried(ask: Ask, given: Given, hello: Hello, failed: set[str]) -> _Tried | None:
    """Return a request that can be tried, or None for one without an answer or of another sort."""
    vector = ask.case.body
    operation = {"decode": decoded, "encode": encoded}.get(ask.op)
    is_short = len(ask.line) <= (FAILED_LINE_MAX if ask.case.id in failed else LINE_MAX)
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


def _candidates(
    one: Planted, of_kind: Mapping[str, Sequence[_Tried]], failed: set[str], hello: Hello
) -> Iterator[_Candidate]:
    """Yield a mistake in each direction that makes a difference, tried on every broken kind."""
    predicted: dict[str, list[Answer]] = {}
    with planted(one):
        for kind in sorted(of_kind.keys() & set(one.paths)):
            suspects = [tried for tried in of_kind[kind] if tried.ask.case.id in failed]
            # Most mistakes explain none of the failures, and the other vectors are many.
            if any(_explains(tried, hello) for tried in suspects):
                predicted[kind] = [
                    _predicted(tried.ask, tried.vector, hello) for tried in of_kind[kind]
                ]
    differing = {
        tried.ask.op
        for kind, answers in predicted.items()
        for tried, answer in zip(of_kind[kind], answers, strict=True)
        if answer != tried.correct
    }
    if not predicted:
        return
    # If the mistake shows in one direction only, its cause names no direction.
    for direction in MadeIn if len(differing) > 1 else (MadeIn.BOTH,):
        yield _Candidate(
            one,
            direction,
            {
                kind: _score(of_kind[kind], answers, direction, failed)
                for kind, answers in predicted.items()
            },
        )


def _explains(tried: _Tried, hello: Hello) -> bool:
    """Return True if the planted mistake predicts the wrong answer that the codec gave."""
    if tried.came == tried.correct:
        return False
    predicted = _predicted(tried.ask, tried.vector, hello)
    return predicted != tried.correct and _fits(predicted, tried.came)


def _score(
    asked: Sequence[_Tried], answers: Sequence[Answer], direction: MadeIn, failed: set[str]
) -> _Score:
    score = _Score({tried.ask.case.id for tried in asked} & failed)
    wrong: set[str] = set()
    for tried, planted_answer in zip(asked, answers, strict=True):
        name = tried.ask.case.id
        predicted = planted_answer if direction.has(tried.ask.op) else tried.correct
        shows = predicted != tried.correct
        if shows:
            score.touched.add(name)
        if _fits(predicted, tried.came):
            if shows:
                score.explained.add(name)
                score.exact += predicted.error is None
        else:
            wrong.add(name)
            # A failure of another cause says nothing against this one.
            score.contradicted += shows
    score.explained = (score.explained & failed) - wrong
    return score


def _fits(predicted: Answer, came: Answer) -> bool:
    """Return True if an answer is as predicted; a predicted error may name no reason."""
    return predicted == came or (predicted.error == UNSAID and came.error is not None)
