"""The check of prose finds each banned idiom, across line ends too, and knows what is exempt."""

from pathlib import Path

import pytest

import check_prose

# Underscores, so that this file has none of the idioms itself.
PLANTED = (
    "holds_so_many items", "takes_so_much", "it_stands_for it", "they_stand_behind",
    "what it_is_told", "peers_were_told", "it_tells_of ranges", "lets_a peer_have",
    "let_it_have", ", which_is_what",
    "empty where_there_is_none",
    "is held_against_vectors", "holds_any target_against vectors", "what does_not_stand",
    "the bytes_behind", "range behind_infinity", "judges what_comes", "how it makes_of",
    "vectors asked_of codecs", "rules that speak_of keys", "that are nobody's_", "lets everybody_",
    "each has_its_say",
)  # fmt: skip


def _plain(text: str) -> str:
    return text.replace("_", " ")


@pytest.mark.parametrize("planted", PLANTED)
def test_finds_an_idiom_on_one_line_and_across_lines(planted: str) -> None:
    """A comment that goes on in the next line has its idioms found."""
    assert len(list(check_prose.problems_of("a.py", f"x = 1\n# {_plain(planted)}\n"))) == 1
    assert (
        len(list(check_prose.problems_of("a.py", f"# {planted.replace('_', chr(10) + '# ')}"))) == 1
    )
    assert (
        len(list(check_prose.problems_of("a.md", f"> {planted.replace('_', chr(10) + '> ')}"))) == 1
    )


def test_names_the_line_and_the_remedy() -> None:
    """A problem says where it is and what to write."""
    text = _plain("first\nit_stands_for")

    (problem,) = check_prose.problems_of("a.md", text)

    assert problem.startswith(f'a.md:2: "{_plain("stands_for")}" is banned: write `is`, `means`')


def test_takes_ordinary_sentences() -> None:
    """Words of the idioms alone are no problem."""
    text = "It tells which of many ranges stands, as much as I told you so. Let A be."
    code = "any(one.stands for one in many)"

    assert list(check_prose.problems_of("a.md", f"{text} {code}")) == []


def test_checks_cases_and_vectors() -> None:
    """Decorators and bodies of cases, and titles, hunts and harms of vectors, are no exception."""
    words = _plain("so_many")
    body = f'@case("MW-0900", "{words}", part="x")\nasync def _(run):\n    """{words}."""\n'

    assert len(list(check_prose.problems_of("conformance/cases/x.py", body))) == 2
    assert check_prose.is_checked("vectors/frames/x.json")
    assert not check_prose.is_checked("vectors/ids.json")
    assert not check_prose.is_checked("conformance/tests/captured/transcripts/x.json")


def test_fails_on_a_planted_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recorded data and the changelog are not looked at, every other text is."""
    words = _plain("which_is_what")
    for name in ("CHANGELOG.md", "spec/x.md", "data.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(words)

    assert check_prose.main(["--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f'spec/x.md:1: "{words}" is banned: write a sentence of its own'
    ]
