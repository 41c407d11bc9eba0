"""The ready line: the facts of a running node that a suite or a script needs, as JSON."""

import json
import secrets

from meshwire_reference.core.settings import Dialect
from meshwire_reference.node.config import Config
from meshwire_spec.numbers import CAPABILITIES, OPTIONAL_CAPABILITIES, PROFILE

INSTANCE_ID = 8


def ready_line(config: Config, addresses: tuple[str, ...], endpoint_id: bytes) -> str:
    """Return the one line that says where and what the node is; never the secret."""
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
    }
    if config.settings.dialect is not Dialect.OPEN and config.key is not None:
        facts["formation_id"] = config.key.formation_id
    return json.dumps(facts)


def _capabilities(config: Config) -> list[str]:
    """Return the names of the capabilities that the node offers."""
    missing = set() if config.settings.serves_reconciliation else {"reconciliation"}
    return [name for name in (*CAPABILITIES, *OPTIONAL_CAPABILITIES) if name not in missing]
