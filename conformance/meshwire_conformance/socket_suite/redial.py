"""Finds lost connections by dialling anew.

Over QUIC a target that has ended is merely silent, until a timeout that is longer than most
deadlines. A further connection shows the difference: it fails if the target is gone, and is
answered if the target has started again or lost the earlier connections.
"""

from __future__ import annotations

import asyncio

from meshwire_conformance.socket_suite.calibration import NO_CONNECTION, Canary
from meshwire_conformance.socket_suite.peers import Peer, Session

LOST = "a further connection is answered, and the earlier ones are not"

READS = 2
"""Reads of a document that no node holds: deployed peers answer every other one (D-58)."""


async def why_lost(session: Session, canary: Canary, deadline_s: float) -> str:
    """Return why the open connections are lost, or an empty text if nothing shows that.

    If a further connection is answered, those that are not are closed, so that they are dialled
    again at their next use.
    """
    further = session.new_peer()
    earlier = session.live_peers()
    try:
        await further.connection()
        for _ in range(READS):
            if await canary.read(deadline_s, further, unknown=True):
                break
        else:
            return ""
    except (ConnectionError, TimeoutError) as exc:
        return f"{NO_CONNECTION}: {exc}"
    finally:
        await further.close()

    async def is_lost(peer: Peer) -> bool:
        try:
            return not await canary.read(deadline_s, peer)
        except (ConnectionError, TimeoutError):
            return True

    found = await asyncio.gather(*map(is_lost, earlier))
    lost = [peer for peer, gone in zip(earlier, found, strict=True) if gone]
    for peer in lost:
        await peer.close()
    return LOST if lost else ""
