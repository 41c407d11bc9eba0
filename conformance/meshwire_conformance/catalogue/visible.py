"""What a binding may be unable to show, and which of it a transcript looks at.

A case that looks at something the binding of a target does not show is not applicable there, for
otherwise it would pass on what nobody has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshwire_conformance.catalogue.transcripts import Transcript

SHOWS = "shows"
"""Prefix of these needs in the catalogue."""
STOP_AFTER_FIN = "stop-after-fin"
"""A stop of a half that we have finished. On a bidi stream the reset beside it is seen anyway."""
RELEASE = "release"
"""How the target ends a half that we have stopped."""
EVERYTHING = frozenset({STOP_AFTER_FIN, RELEASE})


def needs_to_see(transcript: Transcript) -> list[str]:
    """Needs of a transcript in the words of the catalogue."""
    return [f"{SHOWS}:{name}" for name in sorted(set(_looked_at(transcript)))]


def _looked_at(transcript: Transcript) -> Iterator[str]:
    uni: set[tuple[str, str]] = set()
    finished: set[tuple[str, str]] = set()
    for step in transcript.steps:
        half = (step.on, step.stream)
        if step.open == "uni":
            uni.add(half)
        elif step.finish is not None:
            finished.add(half)
        elif step.released is not None:
            yield RELEASE
        elif (step.unfinished or step.refused) and half in uni & finished:
            yield STOP_AFTER_FIN
