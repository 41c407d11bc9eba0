"""The index says what the catalogue says, or is not used."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meshwire_conformance.catalogue import index, version
from meshwire_conformance.catalogue.case import SOCKET
from meshwire_conformance.run.loading import load_catalogue, load_listing

LOADED = """
import sys

sys.argv = ["meshwire", *sys.argv[1:]]
from meshwire_conformance.commands.main import main

try:
    main()
except SystemExit as end:
    print(end.code, *sorted(sys.modules), file=sys.stderr)
"""
"""Runs `meshwire` and prints its exit code and the modules that it has loaded."""


@pytest.fixture
def forget() -> Iterator[None]:
    """Read the index and the listing anew, in the test and after it."""
    for cached in (index.read_index, load_listing):
        cached.cache_clear()
    yield
    for cached in (index.read_index, load_listing):
        cached.cache_clear()


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a call of `meshwire` loads; it has to succeed."""
    command = (sys.executable, "-c", LOADED, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    code, *modules = done.stderr.split()
    assert code == "0", done.stdout + done.stderr
    return set(modules)


@pytest.mark.process
def test_the_version_needs_neither_the_command_line_nor_the_cases() -> None:
    """It is one line of what is known already."""
    modules = loaded_by("--version")

    assert not modules & {"typer", "msgspec", "asyncio", "meshwire_conformance.run.loading"}


@pytest.mark.process
def test_a_codec_is_asked_without_what_runs_over_connections() -> None:
    """Cases over connections are listed as not applicable from the index."""
    codec = f"stdio:'{sys.executable}' -m meshwire_reference.cli codec"
    modules = loaded_by("check", codec, "--only", "MW-1001", "--only", "MW-5001")

    assert "meshwire_conformance.codec_suite.part" in modules
    assert not {name for name in modules if name.startswith("meshwire_conformance.socket_suite.")}


def test_the_index_says_what_the_catalogue_says() -> None:
    """All members but the body, for every case over connections, and the same digest."""
    whole, listing = load_catalogue(), load_listing()

    assert index.read_index() is not None, "run python tools/make_index.py"
    assert listing.digest == whole.digest == index.read_index()["digest"]  # type: ignore[index]
    bare = [replace(case, body=None) for case in whole.cases if case.kind == SOCKET]
    assert [case for case in listing.cases if case.kind == SOCKET] == bare
    assert bare


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"no json", None])
@pytest.mark.usefixtures("forget")
def test_a_wrong_index_is_not_used(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The suite loads everything then, and says the same."""
    path = tmp_path / "index.json"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(index, "INDEX_FILE", path)

    assert index.indexed_cases() is None
    assert load_listing() is load_catalogue()
    assert not version.show_version()


@pytest.mark.usefixtures("forget")
def test_an_index_of_other_sources_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was made before a change of a case would say what is no longer true."""
    path = tmp_path / "index.json"
    monkeypatch.setattr(index, "INDEX_FILE", path)
    path.write_text(index.index_text([], "f" * 64))
    assert version.show_version()
    assert "f" * 64 in capsys.readouterr().out

    index.read_index.cache_clear()
    path.write_text(json.dumps({**json.loads(path.read_text()), "sources": "0" * 64}))
    assert not version.show_version()


def test_every_source_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its content, its name, and that it is there at all."""
    (tmp_path / "part").mkdir()
    one, other = tmp_path / "part" / "one.json", tmp_path / "part" / "other.json"
    monkeypatch.setattr(index, "vectors_folder", lambda: tmp_path)
    seen = [index.sources_digest()]
    one.write_text("{}")
    seen.append(index.sources_digest())
    one.write_text("[]")
    seen.append(index.sources_digest())
    one.rename(other)
    seen.append(index.sources_digest())

    assert len(set(seen)) == len(seen)
