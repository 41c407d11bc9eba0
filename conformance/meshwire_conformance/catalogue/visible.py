"""Names of what a binding may be unable to show.

A case that looks at something the binding of a target does not show is not applicable there:
otherwise it would pass on what nobody has seen. `transcripts` finds what a transcript looks at.
"""

SHOWS = "shows"
"""Prefix of these needs in the catalogue."""
STOP_AFTER_FIN = "stop-after-fin"
"""A stop of a half that we have finished. On a bidi stream the reset beside it is seen anyway."""
RELEASE = "release"
"""How the target ends a half that we have stopped."""
EVERYTHING = frozenset({STOP_AFTER_FIN, RELEASE})
