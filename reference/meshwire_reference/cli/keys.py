"""`meshwire-node keygen` and `identity`: secrets and keys in private files, and what they are for.

A file is made with mode 0600 and never written over, since a key that is lost cannot be made again.
"""

import base64
import hashlib
import json
import secrets
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from meshwire_reference.cli.run import fail
from meshwire_reference.core.identity import Mesh, device_id_of, public_key_of
from meshwire_reference.node.config import ConfigError, endpoint_id_of, read_key_file
from meshwire_reference.store.private_files import write_private

SECRET: Final = 32
"""Bytes of a secret or key that is made."""


def new_secret() -> str:
    """Return a new secret in base64."""
    return base64.b64encode(secrets.token_bytes(SECRET)).decode()


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
            write_private(path, f"{made}\n".encode())
        except FileExistsError:
            fail(f"{path} exists and is left alone: choose another name, or remove it yourself")
        except OSError as exc:
            fail(f"{path} cannot be made: {exc.strerror or exc}")
        if path is endpoint_key:
            sys.stdout.write(f"{endpoint_id_of(base64.b64decode(made)).hex()}\n")


def identity(
    endpoint_key: Annotated[
        Path | None, typer.Option(help="File with the key of an endpoint.")
    ] = None,
    root_secret: Annotated[
        Path | None, typer.Option(help="File with the root secret of a mesh.")
    ] = None,
    mesh_name: Annotated[str, typer.Option(help="Name of that mesh.")] = "",
) -> None:
    """Print the public identities of an endpoint key, or of the root secret of a mesh, as JSON.

    Nothing secret is printed.

    Example: meshwire-node identity --endpoint-key endpoint.txt
    """
    if endpoint_key is None and root_secret is None:
        fail("nothing to show: give --endpoint-key FILE, --root-secret FILE, or both")
    shown: dict[str, str] = {}
    try:
        if endpoint_key is not None:
            endpoint_id = endpoint_id_of(read_key_file(endpoint_key))
            shown |= {
                "endpoint_id": endpoint_id.hex(),
                "device_id": device_id_of(endpoint_id).hex(),
            }
        if root_secret is not None:
            mesh = Mesh.begin(mesh_name, read_key_file(root_secret))
            authority = public_key_of(mesh.authority_key).hex()
            formation = hashlib.sha256(mesh.formation_secret).hexdigest()
            shown |= {
                "mesh_id": mesh.mesh_id,
                "authority": authority,
                "formation_secret_sha256": formation,
            }
    except ConfigError as exc:
        fail(str(exc))
    sys.stdout.write(f"{json.dumps(shown)}\n")
