"""Identities that are derived as deployed peers do it: every row of vectors/derivations.json."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from meshwire_reference.core.identity import (
    Mesh,
    device_id_of,
    device_key,
    endpoint_key_of_host,
    endpoint_key_of_text,
    public_key_of,
)

VECTORS: Final = Path(__file__).resolve().parents[3] / "vectors" / "derivations.json"
ROWS: Final[list[dict[str, str]]] = json.loads(VECTORS.read_text(encoding="utf-8"))


def of_device(row: dict[str, str]) -> dict[str, str]:
    """Return what a device key leads to."""
    key = device_key(bytes.fromhex(row["root"]), row["context"])
    public = public_key_of(key)
    return {"key": key.hex(), "public_key": public.hex(), "device_id": device_id_of(public).hex()}


def of_host(row: dict[str, str]) -> dict[str, str]:
    """Return the endpoint key of a host, and its id."""
    key = endpoint_key_of_host(bytes.fromhex(row["secret"]), row["host"])
    return {"key": key.hex(), "endpoint_id": public_key_of(key).hex()}


def of_text(row: dict[str, str]) -> dict[str, str]:
    """Return the endpoint key of a text."""
    return {"key": endpoint_key_of_text(row["text"]).hex()}


def of_mesh(row: dict[str, str]) -> dict[str, str]:
    """Return what a mesh begins with."""
    mesh = Mesh.begin(row["mesh_name"], bytes.fromhex(row["root"]))
    return {
        "mesh_id": mesh.mesh_id,
        "formation_secret": mesh.formation_secret.hex(),
        "authority": public_key_of(mesh.authority_key).hex(),
    }


RECIPES: Final[dict[str, Callable[[dict[str, str]], dict[str, str]]]] = {
    "device-key": of_device,
    "endpoint-key-of-host": of_host,
    "endpoint-key-of-text": of_text,
    "mesh": of_mesh,
}


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_a_derivation_gives_what_is_recorded(row: dict[str, str]) -> None:
    """EN-020 to EN-026."""
    derived = RECIPES[row["recipe"]](row)

    assert derived == {name: row[name] for name in derived}


def test_every_recipe_has_vectors() -> None:
    """One without them would be free."""
    assert {row["recipe"] for row in ROWS} == set(RECIPES)


def test_nothing_secret_is_shown() -> None:
    """Not in a repr either."""
    mesh = Mesh.begin("ALPHA", bytes(range(32)))

    assert mesh.formation_secret.hex() not in repr(mesh)
    assert repr(mesh.authority_key) not in repr(mesh)
