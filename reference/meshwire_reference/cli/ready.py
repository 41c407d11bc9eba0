"""The line of JSON that a node prints once it can be reached."""

import json
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.settings import Dialect
from meshwire_reference.node.config import Config
from meshwire_reference.node.dialler import SPREAD
from meshwire_reference.node.enrolling import Enrollment
from meshwire_spec.numbers import CAPABILITIES, OPTIONAL_CAPABILITIES, PROFILE

INSTANCE_ID: Final = 8
"""Bytes of the random id of a node, which is new at each start."""
NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


def ready_line(
    config: Config,
    addresses: tuple[str, ...],
    endpoint_id: bytes,
    served: Mapping[str, object] = NOTHING,
) -> str:
    """Return the ready line: addresses and properties of the node, without its secret.

    `served` is what it serves besides, by name.
    """
    redial = {"redial_s": config.redial_s * (1 + SPREAD)} if config.connect else {}
    facts: dict[str, object] = {
        "addresses": list(addresses),
        "endpoint_id": endpoint_id.hex(),
        "instance_id": secrets.token_hex(INSTANCE_ID),
        "profile": PROFILE,
        "dialect": str(config.settings.dialect),
        "capabilities": _capabilities(config),
        "payload_cap": config.settings.payload_cap,
        "deadlines": {
            "handshake_s": config.settings.handshake_s,
            "frame_stall_s": config.settings.frame_stall_s,
        },
        **redial,
        **({} if config.control is None else {"control": str(config.control.absolute())}),
        **served,
    }
    if config.settings.dialect is not Dialect.OPEN and config.key is not None:
        facts["formation_id"] = config.key.formation_id
    return json.dumps(facts)


def enrollment_facts(enrollment: Enrollment) -> dict[str, object]:
    """Return what a node states about the enrollment that it serves."""
    return {
        "addresses": list(enrollment.addresses),
        "mesh_id": enrollment.keys.mesh_id,
        "authority": public_key_of(enrollment.keys.seed).hex(),
    }


def _capabilities(config: Config) -> list[str]:
    """Return the names of the capabilities that the node offers."""
    offers = {
        "reconciliation": config.settings.serves_reconciliation,
        "reconciles": config.reconcile,
        "detection": config.settings.detects,
        "mutual-proof": config.settings.refuses_unproven,
        "control": config.control is not None,
        "roles": config.control is not None,
        "enrollment": config.authority is not None,
        "certificates": config.is_tested,
        "test-control": config.is_tested,
    }
    return [name for name in (*CAPABILITIES, *OPTIONAL_CAPABILITIES) if offers.get(name, True)]
