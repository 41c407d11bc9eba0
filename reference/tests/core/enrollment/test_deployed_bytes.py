"""What a deployed peer wrote for known keys: requests that are signed, and a mesh that begins."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from meshwire_reference.core.enrollment.applicant import Application
from meshwire_reference.core.enrollment.authority import has_signed
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.store.mesh_folder import MeshFolder, credentials_of
from meshwire_reference.wire.certificates import encode_mesh_credentials
from meshwire_reference.wire.enrollment import (
    decode_enrollment_request,
    encode_enrollment_request,
)
from meshwire_spec.numbers import MeshPolicy, Tier

RECORDED: Final = (
    Path(__file__).resolve().parents[4] / "conformance" / "tests" / "captured" / "vectors.jsonl"
)
ROWS: Final[list[dict[str, Any]]] = [
    json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()
]
REQUESTS: Final = [
    row for row in ROWS if row["kind"] == "enrollment_request" and "subject_secret" in row["inputs"]
]
MESHES: Final = [row for row in ROWS if row["kind"] == "mesh_genesis"]
CREDENTIALS: Final = {
    row["inputs"]["mesh_name"]: row["hex"] for row in ROWS if row["kind"] == "mesh_credentials"
}


@pytest.mark.parametrize("row", REQUESTS, ids=[row["name"] for row in REQUESTS])
def test_a_request_is_signed_as_recorded(row: dict[str, Any]) -> None:
    """Byte for byte, and the recorded one verifies."""
    said = row["inputs"]
    application = Application(
        bytes.fromhex(said["subject_secret"]),
        said["mesh_id"],
        bytes(32),
        bytes.fromhex(said["token"]),
        said["node_id"],
        Tier(said["tier"]),
    )
    made = encode_enrollment_request(application.request(int(said["timestamp_ms"])))

    assert made.hex() == row["hex"]
    assert has_signed(decode_enrollment_request(bytes.fromhex(row["hex"])))


@pytest.mark.parametrize("row", MESHES, ids=[row["name"] for row in MESHES])
def test_a_mesh_begins_as_recorded(row: dict[str, Any], tmp_path: Path) -> None:
    """Genesis and credentials, byte for byte."""
    said = row["inputs"]
    folder = MeshFolder(tmp_path / "mesh")
    genesis = folder.create(
        said["mesh_name"],
        MeshPolicy(said["policy"]),
        lambda _size: bytes.fromhex(said["mesh_seed"]),
        int(said["created_at_ms"]),
    )

    assert (folder.path / "genesis").read_bytes().hex() == row["hex"]
    assert encode_mesh_credentials(credentials_of(genesis)).hex() == CREDENTIALS[said["mesh_name"]]
    assert public_key_of(genesis.authority_secret).hex() == said["authority_public"]


def test_there_are_recordings() -> None:
    """Enough of them for the patterns to be right."""
    assert len(REQUESTS) >= 4
    assert len(MESHES) >= 3
