"""The options of `meshwire check` about its output."""

import io
import json
from pathlib import Path
from typing import Literal

import pytest
import typer
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from meshwire_conformance.commands.app import app
from meshwire_conformance.commands.check import (
    CheckOptions,
    attachments_of,
    check_command,
    wants_colour,
)
from meshwire_conformance.errors import UsageError
from meshwire_conformance.report.record import Report
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.progress import CaseOver
from meshwire_conformance.run.runner import Options, unfinished
from meshwire_conformance.targets.facts import read_facts
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict
from meshwire_spec.schemas.validation import load_schema


class Stream(io.StringIO):
    """A text stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._terminal


@pytest.mark.parametrize(
    ("choice", "environment", "terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": ""}, False, False),
        ("auto", {"FORCE_COLOR": "0"}, False, False),
        ("auto", {"FORCE_COLOR": "False"}, False, False),
        ("auto", {"FORCE_COLOR": "0"}, True, True),
        ("auto", {"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour_follows_option_then_environment_then_terminal(
    choice: str,
    environment: dict[str, str],
    terminal: bool,  # noqa: FBT001 - a parameter of the test
    expected: bool,  # noqa: FBT001 - as above
) -> None:
    """An empty variable counts as not set."""
    assert wants_colour(choice, environment, Stream(terminal=terminal)) is expected


@pytest.mark.parametrize(("choice", "has_colour"), [("always", True), ("auto", False)])
def test_colour_reaches_a_pipe_that_wants_it(
    choice: Literal["always", "auto"],
    has_colour: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What prints the lines does not take the colour out again."""
    passed = unfinished("stdio:x", Options(), "", ExitCode.PASSED)
    monkeypatch.setattr(f"{check_command.__module__}.check", lambda *_: passed)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with pytest.raises(typer.Exit):
        check_command(CheckOptions(targets=["stdio:x"], quiet=True, color=choice))

    assert ("\x1b[32m" in capsys.readouterr().out) is has_colour


def test_options_that_exclude_each_other_are_wrong_usage() -> None:
    """Before anything is started."""
    with pytest.raises(UsageError, match="--quiet or --verbose"):
        check_command(CheckOptions(targets=["stdio:/no/such/program"], quiet=True, verbose=True))
    with pytest.raises(UsageError, match="--fail-fast or --max-failures"):
        check_command(
            CheckOptions(targets=["stdio:/no/such/program"], fail_fast=True, max_failures=3)
        )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (CheckOptions(targets=["tcp://127.0.0.1:1"], formation_id="a"), "both or neither"),
        (
            CheckOptions(targets=["tcp://127.0.0.1:1"], formation_secret_file=Path("s")),
            "both or neither",
        ),
        (CheckOptions(targets=["tcp://127.0.0.1:1"], dialect="H2"), "--dialect is for"),
        (
            CheckOptions(formation_id="a", formation_secret_file=Path("s")),
            "for a target with an address",
        ),
        (
            CheckOptions(targets=["node:./n"], formation_id="a", formation_secret_file=Path("s")),
            "'node:./n' has none",
        ),
        (
            CheckOptions(
                targets=["tcp://127.0.0.1:1"],
                formation_id="\u00e9" * 128,
                formation_secret_file=Path("s"),
            ),
            "more than 255 bytes",
        ),
    ],
)
def test_options_of_a_formation_belong_together(given: CheckOptions, said: str) -> None:
    """Half a formation, one for nobody, and one for a target that the suite starts."""
    with pytest.raises(UsageError, match=said):
        attachments_of(given)


@pytest.mark.parametrize("control", [None, Path("n.sock")])
@pytest.mark.parametrize("dialect", [None, "H2"])
@pytest.mark.parametrize("scheme", ["tcp", "quic", "tcp-listen"])
def test_a_formation_is_demanded_of_every_target_with_an_address(
    scheme: str, dialect: Literal["H2"] | None, control: Path | None
) -> None:
    """Its facts are those of a target file, and the line that repeats a case has the options."""
    (one,) = attachments_of(
        CheckOptions(
            targets=[f"{scheme}://127.0.0.1:1"],
            formation_id="alpha",
            formation_secret_file=Path("my secret"),
            dialect=dialect,
            control=control,
        )
    )
    facts = read_facts(one.facts)

    assert (facts.formation_id, facts.secret_file) == ("alpha", Path("my secret"))
    assert facts.dialect == one.variant == (dialect or "H1")
    assert (
        f"--formation-id alpha --formation-secret-file 'my secret' --dialect {facts.dialect} "
        in one.command
    )
    assert one.control == control


def test_a_quiet_run_shows_no_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Violations are in the report, once."""
    failing = load_catalogue().cases[0]

    def run(_targets: object, text: str, options: Options, _start: object) -> Report:
        assert options.watcher is not None
        assert options.violations_max == 1
        options.watcher(CaseOver(failing, CaseResult(failing.id, Verdict.FAIL), 1, 1))
        return unfinished(text, options, "", ExitCode.PASSED)

    monkeypatch.setattr(f"{check_command.__module__}.check", run)
    said = {}
    for quiet in (True, False):
        with pytest.raises(typer.Exit):
            check_command(CheckOptions(targets=["stdio:x"], quiet=quiet, fail_fast=True))
        said[quiet] = capsys.readouterr().err

    assert said[True] == ""
    assert said[False].startswith(f"FAIL {failing.id}")


def listed(capsys: pytest.CaptureFixture[str], *only: str, as_json: bool = True) -> str:
    """The list of the cases that these patterns name."""
    check_command(CheckOptions(list_cases=True, only=list(only), as_json=as_json))
    return capsys.readouterr().out


def test_the_list_as_json_fits_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Every case of the suite, in the order of the ids, and its digests."""
    text = listed(capsys)
    document = json.loads(text)
    catalogue = load_catalogue()

    assert [
        e.message for e in Draft202012Validator(load_schema("listing")).iter_errors(document)
    ] == []
    assert text.isascii()
    assert [case["id"] for case in document["cases"]] == [case.id for case in catalogue.cases]
    assert document["suite"]["digest"] == catalogue.digest
    assert document["suite"]["selection_digest"] == catalogue.digest


def test_the_list_as_json_has_what_a_case_needs_and_requires(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Needs, the results by level, and the control if it has one; the same cases as the lines."""
    catalogue = load_catalogue()
    for wanted in (
        next(case for case in catalogue.cases if case.control),
        next(case for case in catalogue.cases if case.needs and not case.control),
    ):
        document = json.loads(listed(capsys, wanted.id))
        (case,) = document["cases"]

        assert case["rules"] == list(wanted.rules)
        assert case["needs"] == list(wanted.needs)
        assert case["results"] == {
            "wire": wanted.demanded("wire"),
            "strict": wanted.demanded("strict"),
        }
        assert case.get("control") == wanted.control
        assert document["suite"]["selection_digest"] != catalogue.digest
        assert listed(capsys, wanted.id, as_json=False).startswith(f"{wanted.id}  {wanted.kind}")


def test_json_without_a_list_is_wrong_usage() -> None:
    """It names what writes the results of a run."""
    with pytest.raises(UsageError, match="--report json=PATH"):
        check_command(CheckOptions(targets=["stdio:/no/such/program"], as_json=True))


@pytest.mark.parametrize(
    ("reports", "lists", "says"),
    [
        (["json=r", "junit=r"], False, "another report is written to r too"),
        (["json=r", "json=./r"], False, "another report is written to r too"),
        (["json=r", "junit=link"], False, "another report is written to link too"),
        (["json=-"], False, "standard output is json=/dev/stdout"),
        (["json=r"], True, "--report is for a run"),
    ],
)
def test_a_report_that_would_be_lost_is_wrong_usage(
    reports: list[str],
    lists: bool,  # noqa: FBT001 - a parameter of the test
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two in one file, one in a file with the name -, and one of a run that is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("r")
    with pytest.raises(UsageError, match=says):
        check_command(
            CheckOptions(targets=["stdio:/no/such/program"], report=reports, list_cases=lists)
        )

    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_the_examples_of_the_help_have_a_line_each() -> None:
    """They are copied from there."""
    shown = CliRunner().invoke(app, ["check", "--help"], terminal_width=80).output
    examples = [line.strip() for line in shown.splitlines() if "meshwire check " in line][1:]

    assert "\\b" not in shown
    assert len(examples) == 4
    assert all(line.removeprefix("Example: ").startswith("meshwire check ") for line in examples)
