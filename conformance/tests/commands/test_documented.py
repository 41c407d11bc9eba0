"""Commands on the pages: each one is read by the command line as it is, or it is out of date."""

import re
import shlex
from collections.abc import Iterator

import pytest
import typer
from page_commands import blocks

from meshwire_conformance.commands.app import WRONG_ARGUMENTS, app
from meshwire_reference.cli.app import build_app

COMMANDS = {"meshwire": app, "meshwire-node": build_app()}
ENDS = re.compile(r"\d?[<>].*|[|&;]+|done")
"""Words that end the arguments of a command in a shell: what separates it, and redirections."""


def commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every command line of ours in a block of a page, and where it is."""
    for page, lines in blocks():
        for line in lines:
            words = shlex.split(line, comments=True)
            for at, word in enumerate(words):
                if word not in COMMANDS or (
                    at and words[at - 1] != "do" and not ENDS.fullmatch(words[at - 1])
                ):
                    continue
                rest = words[at:]
                end = next((n for n, one in enumerate(rest) if ENDS.fullmatch(one)), len(rest))
                yield page.name, tuple(rest[:end])


FOUND = sorted(set(commands()))


@pytest.mark.parametrize(("page", "words"), FOUND, ids=[" ".join(words) for _, words in FOUND])
def test_a_command_of_a_page_is_one_of_the_command_line(page: str, words: tuple[str, ...]) -> None:
    """Its command, options and number of arguments are right; it is not run here."""
    assert read(words) is not None, page


@pytest.mark.parametrize(
    "words", ["check --no-such x", "chek x", "decode", "explain A B", "ledger write x --expire y"]
)
def test_a_wrong_command_would_be_noticed(words: str) -> None:
    """A checker that cannot fail shows nothing."""
    with pytest.raises(WRONG_ARGUMENTS):
        read(("meshwire", *words.split()))


def read(words: tuple[str, ...]) -> object:
    """Read a command line to its last argument, without running it."""
    command = typer.main.get_command(COMMANDS[words[0]])
    context = command.make_context(words[0], list(words[1:]))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        _, command, arguments = command.resolve_command(context, rest)
        context = command.make_context(words[0], arguments, parent=context)
    return context


def test_the_pages_have_commands() -> None:
    """Enough of them for the pattern to be right."""
    assert len(FOUND) > 25
    assert {page for page, _ in FOUND} >= {"README.md", "15-running.md", "16-build-one.md"}
