"""Requests of a page to another host are found in every place."""

from pathlib import Path

import pytest

import look_at_site

FETCHING = {
    "script": '<script src="https://example.org/a.js"></script>',
    "image": '<img src="//example.org/a.png">',
    "image set": '<img srcset="a.png 1x, https://example.org/b.png 2x">',
    "stylesheet": '<link rel="stylesheet" href="https://example.org/a.css">',
    "connection ahead": '<link rel="preconnect" href="https://fonts.example.org">',
    "style": "<p style=\"background: url('https://example.org/a.png')\">x</p>",
}
SILENT = {
    "link to follow": '<a href="https://example.org/">x</a>',
    "canonical": '<link rel="canonical" href="https://example.org/">',
    "own script": '<script src="assets/a.js"></script>',
}


@pytest.mark.parametrize("text", FETCHING.values(), ids=FETCHING.keys())
def test_what_another_host_is_asked_for_is_found(text: str, tmp_path: Path) -> None:
    """Each way to fetch is one problem, with the page it stands on."""
    (tmp_path / "a.html").write_text(text)

    problems = look_at_site.foreign_assets(tmp_path)

    assert [problem.split(" ")[0] for problem in problems] == ["a.html"]


@pytest.mark.parametrize("text", SILENT.values(), ids=SILENT.keys())
def test_what_is_not_fetched_is_no_problem(text: str, tmp_path: Path) -> None:
    """Links that a reader follows, and files of the site, are let through."""
    (tmp_path / "a.html").write_text(text)

    assert look_at_site.foreign_assets(tmp_path) == []


def test_styles_are_searched_too(tmp_path: Path) -> None:
    """An import in a style sheet is found."""
    (tmp_path / "a.css").write_text('@import "https://example.org/b.css";')

    assert look_at_site.foreign_assets(tmp_path) == ["a.css fetches https://example.org/b.css"]


def test_requests_of_the_browser_itself_do_not_count() -> None:
    """Only what a page of the site has asked for is read off the log."""
    own = "http://127.0.0.1:1"
    events = [
        {"params": {"url": f"{own}/a.css", "initiator": own}},
        {"params": {"url": "https://update.example.org/", "initiator": "not an origin"}},
        {"params": {"url": "https://example.org/a.js", "initiator": own}},
        {"type": 1},
    ]

    assert look_at_site.requests_in({"events": events}, own) == {"https://example.org/a.js"}
