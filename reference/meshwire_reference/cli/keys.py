"""`meshwire-node keygen`: the secret of a formation and the key of an endpoint, in private files.

A file is made with mode 0600 and never written over, since a key that is lost cannot be made again.
"""

import base64
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from meshwire_reference.cli.run import fail
from meshwire_reference.node.config import endpoint_id_of

SECRET: Final = 32
"""Bytes of a secret or key that is made."""


def new_secret() -> str:
    """Return a new secret in base64."""
    return base64.b64encode(secrets.token_bytes(SECRET)).decode()


def write_private(path: Path, text: str) -> None:
    """Write a new file that its owner alone can read. Raises OSError, also if it exists."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(number, "w", encoding="ascii") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())


def keygen(
    secret: Annotated[
        Path | None, typer.Option(help="New file for the secret of a formation.")
    ] = None,
    endpoint_key: Annotated[
        Path | None, typer.Option(help="New file for the key of an endpoint.")
    ] = None,
) -> None:
    """Make the secret of a formation or the key of an endpoint, each in a file of mode 0600.

    Prints the endpoint id of a key. A file that exists is left alone.

    Example: meshwire-node keygen --secret secret.txt --endpoint-key endpoint.txt
    """
    if secret is None and endpoint_key is None:
        fail("nothing to make: give --secret FILE, --endpoint-key FILE, or both")
    for path in (secret, endpoint_key):
        if path is None:
            continue
        made = new_secret()
        try:
            write_private(path, made)
        except FileExistsError:
            fail(f"{path} exists and is left alone: choose another name, or remove it yourself")
        except OSError as exc:
            fail(f"{path} cannot be made: {exc.strerror or exc}")
        if path is endpoint_key:
            sys.stdout.write(f"{endpoint_id_of(base64.b64decode(made)).hex()}\n")
