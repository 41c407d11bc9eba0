"""The commands that speak to a running node over its control socket.

Exit code 1 if the node has not carried out the request, 2 for wrong usage or without a node.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwire_reference.backend import BadFields
from meshwire_reference.backend.values import parse_fields
from meshwire_reference.cli.run import fail
from meshwire_reference.control.client import ControlClient, NoNode, RequestRefused
from meshwire_reference.control.messages import Delete, Get, Put

NOT_DONE = 1
"""Exit code for a request that the node has not carried out."""
WRONG_USAGE = frozenset(("bad-request", "bad-key", "bad-fields"))
"""Codes of errors that the arguments of the command lead to."""
CONTROL_VARIABLE = "MESHWIRE_CONTROL"

Control = Annotated[
    Path,
    typer.Option(
        envvar=CONTROL_VARIABLE,
        help="Control socket of the node: the path after --control of its `run`.",
    ),
]
Collection = Annotated[str, typer.Argument(help="Name of the collection.", show_default=False)]
DocumentId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the document in it.", show_default=False)
]


def fail_request(problem: str) -> typer.Exit:
    """Print why a request was not carried out, on one line; return the exit to raise."""
    sys.stderr.write(f"meshwire-node: {problem}\n")
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
    sys.stdout.write(json.dumps(value, ensure_ascii=sys.stdout.encoding != "utf-8") + "\n")


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


COMMANDS = (put, get, delete)
"""The commands, in the order in which help lists them."""
