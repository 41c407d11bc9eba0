"""What a target does wrong on its first connection is named before the cases, and beside them."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from progress_lines import said

from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.report.record import TargetRun
from meshwire_conformance.report.text import lines_of
from meshwire_conformance.run.runner import Options, check
from meshwire_conformance.socket_suite.first_contact import PING, first_contact, swapped_length
from meshwire_conformance.socket_suite.inbox import Inbox, TargetFault
from meshwire_conformance.socket_suite.meanwhile import came_meanwhile, connection_end
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.lab_records import PeerFault, Preamble, record
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Address, Closed, Dial, Stream
from meshwire_conformance.verdicts import TARGET_ENDED, ExitCode, Verdict
from meshwire_spec.numbers import REASONS, LabRecordType

PEER = Path(__file__).parents[1] / "programs" / "lying_node.py"
DEADLINE_S = 0.01
FIN = bytes(8) + b"\x01"
READ = "MW-5001"
"""A case that reads a document."""


def held_against(how: str) -> tuple[TargetRun, list[str]]:
    """The run of one case against a peer that absorbs, and its report as text."""
    command = shlex.join([sys.executable, str(PEER), how, "open"])
    attachment = Attachment("node", command, f"node:{command}")
    report = check([attachment], how, Options(only=(READ,), timeout_scale=0.1))
    (run,) = report.runs
    return run, list(lines_of(report))


@pytest.mark.process
@pytest.mark.socket
@pytest.mark.parametrize(
    ("how", "field", "bytes_"),
    [("swapped-payload", "payload.length", "0b 00 00 00"), ("swapped-key", "key.length", "03 00")],
)
def test_a_little_endian_length_is_named_before_the_cases(
    how: str, field: str, bytes_: str
) -> None:
    """It fails most cases with a missing answer, which alone says nothing about the cause."""
    run, lines = held_against(how)
    (named,) = [line for line in run.contact if "little endian" in line]
    (result,) = run.results

    assert named.startswith(f"{field} is {bytes_}, which is ")
    assert lines.index(f"  {named}") < next(n for n, line in enumerate(lines) if READ in line)
    assert result.cause.startswith(f"`{field}` in frames of the target is in the wrong byte order")
    assert lines[lines.index("1 failure, by cause:") + 1].split(None, 1)[1].startswith(result.cause)
    assert any(line.startswith("meanwhile came on ") for line in result.received)
    assert any(note.startswith("meanwhile came on ") for note in run.notes)


@pytest.mark.process
@pytest.mark.socket
def test_a_refused_stream_is_listed_beside_a_missing_answer() -> None:
    """The code of the refusal says why no answer comes."""
    run, _ = held_against("refuse")
    (result,) = run.results
    code = f"0x{REASONS['length-limit'].code:08x}"
    refusal = f"RESET with length-limit ({code})"

    assert f"barrier:      {refusal}" in run.contact
    assert any(refusal in line for line in result.received)
    assert result.cause == f"each stream of the suite is refused with length-limit ({code})"


@pytest.mark.process
@pytest.mark.socket
def test_each_part_of_a_connection_has_a_line() -> None:
    """Also where nothing is wrong but that no answer comes."""
    run, _ = held_against("silent")

    assert [line.partition(":")[0] for line in run.contact] == [
        "preamble",
        "PING",
        "first stream",
        "first frame",
        "barrier",
    ]
    assert "but the target is said to be" in run.contact[0]
    assert run.contact[-1].endswith("nothing within the deadline")
    assert run.results[0].cause.startswith("no read is answered, and no stream")


@pytest.mark.process
@pytest.mark.socket
def test_a_wrong_preamble_is_shown_with_its_bytes(tmp_path: Path) -> None:
    """No case can run then, and the report says all the same which field is wrong."""
    report = tmp_path / "report.json"
    target = f"node:{shlex.join([sys.executable, str(PEER), 'version', 'open'])}"
    command = [sys.executable, "-m", "meshwire_conformance.commands.main", "check", target]
    command += ["--only", READ, "--report", f"json={report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line.removeprefix("  ") for line in done.stdout.splitlines()]
    (run,) = json.loads(report.read_text("ascii"))["runs"]

    assert done.returncode == ExitCode.INCOMPLETE
    assert said(done.stderr).count("\n") == 1
    assert any(line.startswith("preamble:") and "LB-003" in line for line in lines)
    assert any(line.startswith("0004  02 ") for line in lines)
    assert run["contact"] == lines[1 : 1 + len(run["contact"])]


class Scripted(TcpConnection):
    """A connection without a socket, on which the bytes of a target have come already."""

    def __init__(self, *came: bytes) -> None:
        super().__init__(Dial(bytes(32)))
        self.came = came

    async def finish(self, stream: Stream) -> None:
        """Let the bytes come."""
        await super().finish(stream)
        self.flush()
        for data in self.came:
            self.data_received(data)


def contact_with(*came: bytes) -> list[str]:
    """The lines about a first connection on which these records answer the first stream."""
    connection = Scripted(*came)
    connection.data_received(Preamble(bytes(32)).encode())
    target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
    session = Session(target, Settings(), "n", Inbox())
    connection.on_stream = session.inbox.reader_of("first contact")
    session.peer("first contact").adopt(connection)
    return list(asyncio.run(first_contact(session, DEADLINE_S)))


def test_an_answer_on_the_stream_of_its_question_is_shown() -> None:
    """It belongs on a stream of its own, where the suite waits for it in vain."""
    answer = bytes.fromhex("0003 613a62 00 00000001 42")
    half = bytes(8) + b"\x01" + answer
    lines = contact_with(record(LabRecordType.DATA, half))
    place = lines.index("barrier:      FIN, behind 11 bytes on the stream of the question (TR-008)")

    assert lines[place + 1].startswith("0000  00 03")


@pytest.mark.parametrize(
    ("frame", "said", "row"),
    [
        ("0003 613a62 0b 00000001 42", "11 is none of", "0005  0b 00 00 00 01 42"),
        ("0003 613a62 00 00000003 4242", "announces 3 bytes, and 2 came before FIN", "0006  00 00"),
        ("0003 61", "3 bytes came before FIN, and its header takes 10", "0000  00 03"),
    ],
)
def test_a_wrong_first_frame_is_shown_with_its_bytes(frame: str, said: str, row: str) -> None:
    """Also where the frame is whole, and with the numbers that do not fit."""
    stream = (1).to_bytes(8, "big")
    lines = contact_with(record(LabRecordType.DATA, stream + b"\x01" + bytes.fromhex(frame)))

    assert any(line.startswith("first frame:") and said in line for line in lines)
    assert any(line.startswith(row) for line in lines)


@pytest.mark.process
@pytest.mark.socket
def test_a_node_that_ends_in_the_middle_is_named_with_its_signal() -> None:
    """The cases that ran fail for it, and those after them are not judged."""
    command = shlex.join([sys.executable, str(PEER), "dies", "open"])
    attachment = Attachment("node", command, f"node:{command}")
    report = check([attachment], "dies", Options(only=("DC-00*",), timeout_scale=0.1))
    (run,) = report.runs
    failed = [result for result in run.results if result.verdict is Verdict.FAIL]
    left = [result for result in run.results if result.symptom == TARGET_ENDED]
    why = "the node ended with SIGKILL while MW-"

    assert failed
    assert left
    assert all(result.reasons[0].startswith(why) for result in (*failed, *left))
    assert report.exit_code is ExitCode.VIOLATIONS


def test_a_connection_that_ends_leaves_nothing_to_wait_for() -> None:
    """No line names a deadline then, and the last one says who closed it."""
    lines = contact_with(record(LabRecordType.CLOSE, bytes(8)))

    assert lines[1] == "PING:         none"
    assert lines[3] == "first frame:  none"
    assert lines[-1] == "connection:   the target closed the connection with shutdown (0x00000000)"


def test_a_wrong_pong_is_shown_with_the_right_one() -> None:
    """Its bytes are not those of the PING."""
    other = bytes(reversed(PING))
    lines = contact_with(record(LabRecordType.PONG, other), record(LabRecordType.DATA, FIN))

    assert f"PING:         PONG {other.hex()}, expected {PING.hex()} (LB-050)" in lines


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ("0003 613a62 00 0b000000 4200000100000000000000", "payload.length"),
        ("0003 613a62 00 0b000000", "payload.length"),
        ("0005 6261746368 07 e7000000 957e", "payload.length"),
        ("0b00 5f6e6567656e74726f7079 08 00000002 6100", "key.length"),
        ("0003 616263 00 0b000000", ""),
        ("0300 613a62 00 0000000b 4200000100000000000000", "key.length"),
        ("0300 613a62 00 0b000000 4200000100000000000000", "key.length"),
        ("0003 613a62 00 0000000b 42000001", ""),
        ("0003 613a62 00 0000000b 4200000100000000000000", ""),
        ("03", ""),
        ("ffff ffff", ""),
    ],
)
def test_a_length_is_only_called_little_endian_if_it_then_fits(data: str, field: str) -> None:
    """A frame that is cut short is not."""
    assert swapped_length(bytes.fromhex(data)).partition(" is ")[0] == field


def test_of_many_faults_some_are_listed() -> None:
    """The first in full, and of the others the number."""
    fault = TargetFault("A", 5, "length-limit", "payload: too long", bytes.fromhex("0003613a62"))
    lines = came_meanwhile([fault] * 20, ())

    assert lines[0] == "meanwhile came on A, stream 5: payload: too long"
    assert lines[1].startswith("0000  00 03")
    assert lines[-1] == "and 12 more"


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        (Closed(258, "bye"), "the target closed the connection with 0x00000102 bye"),
        (Closed(0, "", by_suite=True), "the suite closed the connection with shutdown"),
        (Closed(None, "timed out"), "the connection ended without a code: timed out"),
        (
            Closed(
                None,
                "the target broke LB-025",
                fault=PeerFault("bad-flag", "flag 2", "LB-025", "lab_record", bytes(14), 13),
            ),
            "the suite closed the connection, for the target broke LB-025",
        ),
    ],
)
def test_a_lost_connection_names_who_closed_it(closed: Closed, said: str) -> None:
    """A fault of the binding also shows the record."""
    failed = connection_end(closed)

    assert failed.reason.startswith(said)
    assert bool(failed.received) is (closed.fault is not None)
    assert any("bad-flag: flag 2" in line for line in failed.received) is bool(failed.received)
