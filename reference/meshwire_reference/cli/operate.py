"""The commands that speak to a running node over its control socket.

Exit code 1 if the node has not carried out the request, 2 for wrong usage or without a node.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwire_reference.backend import BadFields, PeerRole
from meshwire_reference.backend.failures import explained
from meshwire_reference.backend.values import parse_fields
from meshwire_reference.cli.run import fail
from meshwire_reference.control.client import ControlClient, NoNode, RequestRefused
from meshwire_reference.control.messages import (
    ENDPOINT,
    AssignRole,
    Connect,
    Delete,
    Docs,
    Get,
    Peers,
    Put,
    Stats,
    Status,
    Watch,
)

NOT_DONE = 1
"""Exit code for a request that the node has not carried out."""
WRONG_USAGE = frozenset(("bad-request", "bad-key", "bad-fields", "bad-address"))
"""Codes of errors that the arguments of the command lead to."""
CONTROL_VARIABLE = "MESHWIRE_CONTROL"
ROLES = {**{one.value: one for one in PeerRole}, "none": None}
"""The words that the command `role` takes, and the role of each."""

Control = Annotated[
    Path,
    typer.Option(
        envvar=CONTROL_VARIABLE,
        help="Control socket of the node: the path after --control of its `run`.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Collection = Annotated[str, typer.Argument(help="Name of the collection.", show_default=False)]
DocumentId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the document in it.", show_default=False)
]


def fail_request(problem: str) -> typer.Exit:
    """Print why a request was not carried out, on one line; return the exit to raise."""
    sys.stderr.write(f"meshwire-node: {' '.join(problem.split())}\n")
    return typer.Exit(NOT_DONE)


@contextmanager
def connected(control: Path) -> Iterator[ControlClient]:
    """Yield a connection to the node, and end the command by an exit code if it fails."""
    try:
        with ControlClient(control) as client:
            yield client
    except NoNode as exc:
        fail(str(exc))
    except RequestRefused as exc:
        if exc.code in WRONG_USAGE:
            fail(str(exc))
        raise fail_request(str(exc)) from exc


def show(value: Any) -> None:
    """Print a value as JSON on one line."""
    say(json.dumps(value, ensure_ascii=sys.stdout.encoding != "utf-8"))


def say(line: str) -> None:
    """Print a line at once; end the command if nobody reads it."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would fail again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def put(
    collection: Collection,
    document: DocumentId,
    fields: Annotated[
        str,
        typer.Argument(
            metavar="JSON",
            help="Fields of the document as a JSON object; - reads it from standard input.",
            show_default=False,
        ),
    ],
    control: Control,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the fields that are not given.")
    ] = False,
) -> None:
    """Write fields of a document; ends when they are durable.

    Example: meshwire-node put --control node.sock notes n1 '{"title": "first", "size": 3}'
    """
    try:
        given = parse_fields(sys.stdin.read() if fields == "-" else fields)
    except BadFields as exc:
        fail(str(exc))
    except UnicodeDecodeError:
        fail("standard input is not UTF-8")
    request = Put(id=1, collection=collection, document=document, fields=given, replace=replace)
    with connected(control) as client:
        client.ask(request)


def get(collection: Collection, document: DocumentId, control: Control) -> None:
    """Print the fields of a document as JSON.

    Example: meshwire-node get --control node.sock notes n1
    """
    with connected(control) as client:
        reply = client.ask(Get(id=1, collection=collection, document=document))
    show(reply["document"]["fields"])


def delete(collection: Collection, document: DocumentId, control: Control) -> None:
    """Delete a document on every node; ends when that is durable.

    Example: meshwire-node delete --control node.sock notes n1
    """
    with connected(control) as client:
        client.ask(Delete(id=1, collection=collection, document=document))


def docs(
    control: Control,
    collection: Annotated[
        str | None, typer.Argument(help="Name of the collection; all if left out.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List documents: collection and id on each line, divided by a tab.

    Example: meshwire-node docs --control node.sock notes
    """
    with connected(control) as client:
        after, more = "", True
        while more:
            listed = client.ask(Docs(id=1, collection=collection, after=after))["documents"]
            for name in listed["names"]:
                after = f"{name['collection']}:{name['document']}"
                if as_json:
                    show(name)
                else:
                    say(f"{name['collection']}\t{name['document']}")
            more = listed["more"]


def peers(control: Control, *, as_json: AsJson = False) -> None:
    """List the peers: those connected, those dialled in vain, and those refused, each with why.

    Example: meshwire-node peers --control node.sock
    """
    with connected(control) as client:
        found = client.ask(Peers(id=1))["peers"]
    if as_json:
        show(found)
        return
    for peer in found["known"]:
        state = "connected" if peer["connected"] else "not connected"
        addresses = " ".join(peer["addresses"]) or "-"
        why = "" if peer["connected"] or not peer["why"] else f"\t{explained(peer['why'])}"
        say(f"{state}\t{peer['endpoint_id'] or '-'}\t{addresses}{why}")
    for line in refusals(found["refused"]):
        say(line)


def connect(
    address: Annotated[
        str,
        typer.Argument(
            help="Address of the peer, such as tcp://127.0.0.1:4711.", show_default=False
        ),
    ],
    control: Control,
) -> None:
    """Keep a connection to a peer from now on; prints its endpoint id once it is connected.

    Example: meshwire-node connect --control node.sock tcp://127.0.0.1:4711
    """
    with connected(control) as client:
        say(client.ask(Connect(id=1, address=address))["peer"]["endpoint_id"])


def role(
    endpoint: Annotated[
        str,
        typer.Argument(help="Endpoint id of the peer, 64 hex digits.", show_default=False),
    ],
    place: Annotated[
        str,
        typer.Argument(
            metavar="parent|child|lateral|none",
            help="What the peer is to the node; none takes its role away.",
            show_default=False,
        ),
    ],
    control: Control,
) -> None:
    """Say what a peer is to the node until that ends; its configuration says so for good.

    Example: meshwire-node role --control node.sock 8139..b394 parent
    """
    if re.fullmatch(ENDPOINT, endpoint) is None:
        fail(f"{endpoint} is no endpoint id: one has 64 hex digits, in small letters")
    if place not in ROLES:
        fail(f"{place} is no role: one of {', '.join(ROLES)} is")
    with connected(control) as client:
        client.ask(AssignRole(id=1, endpoint_id=endpoint, role=ROLES[place]))


def watch(
    control: Control,
    collection: Annotated[
        str | None, typer.Argument(help="Name of the collection; all if left out.")
    ] = None,
    *,
    count: Annotated[
        int | None, typer.Option(min=1, help="End after this number of events.")
    ] = None,
) -> None:
    """Print the documents and then each change of one, as JSON lines, until it is interrupted.

    Example: meshwire-node watch --control node.sock notes
    """
    with connected(control) as client, suppress(KeyboardInterrupt):
        request = Watch(id=1, collection=collection)
        for number, reply in enumerate(client.ask_for_all(request), 1):
            show(reply["event"])
            if number == count:
                break


def stats(
    control: Control,
    *,
    peers: Annotated[bool, typer.Option("--peers", help="Add the counters of each peer.")] = False,
) -> None:
    """Print the counters of the node as JSON: frames, bytes, changes, what was refused and why.

    Example: meshwire-node stats --control node.sock --peers
    """
    with connected(control) as client:
        show(client.ask(Stats(id=1, by_peer=peers))["stats"])


def status(
    control: Control,
    collection: Annotated[
        str | None, typer.Argument(help="Name of a collection, with the id of a document.")
    ] = None,
    document: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Id of a document in it.")
    ] = None,
    *,
    peer: Annotated[
        str | None,
        typer.Option(metavar="ENDPOINT", help="Only this peer: the beginning of its endpoint id."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what the node is and has, or why each peer has a document or not.

    Of a document: what was offered, sent, received, applied, refused and why, and what it waits
    for. What a peer did with what has reached it, `status` of that peer says.

    Examples: meshwire-node status --control node.sock and
    meshwire-node status --control node.sock notes n1
    """
    if (collection is None) is not (document is None):
        fail("give both COLLECTION and ID, or neither")
    if collection is None and peer is not None:
        fail("--peer is for a document: give COLLECTION and ID too")
    with connected(control) as client:
        found = client.ask(Status(id=1, collection=collection, document=document))
    if collection is not None:
        show_document_status(found["document_status"], peer, as_json=as_json)
        return
    found = found["status"]
    if as_json:
        show(found)
        return
    for name, value in found.items():
        shown = " ".join(value) if isinstance(value, list) else value
        say(f"{name}\t{'-' if shown in (None, '') else shown}")


def show_document_status(found: dict[str, Any], peer: str | None, *, as_json: bool) -> None:
    """Print what became of a document, of all peers or of one."""
    chosen = [one for one in found["peers"] if (one["endpoint_id"] or "").startswith(peer or "")]
    if peer is not None and not chosen:
        raise fail_request(f"no peer has an endpoint id that begins with {peer}")
    if as_json:
        show(found | {"peers": chosen})
        return
    first, *lines = found["words"]
    say(first)
    is_shown = True
    for line in lines:
        if line.startswith("peer "):
            is_shown = peer is None or line.startswith(f"peer {peer}")
        if is_shown:
            say(line)


def refusals(refused: list[dict[str, Any]]) -> Iterator[str]:
    """Yield one line for each peer and reason: how often lately, and when last."""
    times: dict[tuple[str, str], list[int]] = {}
    for one in refused:
        times.setdefault((one["endpoint_id"], one["reason"]), []).append(one["at_ms"])
    for (endpoint, reason), at in times.items():
        last = datetime.fromtimestamp(at[-1] // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        yield f"refused\t{endpoint}\t-\t{explained(reason)}\t{len(at)} times, last {last}"


COMMANDS = (put, get, delete, docs, peers, connect, role, watch, stats, status)
"""The commands, in the order in which help lists them."""
