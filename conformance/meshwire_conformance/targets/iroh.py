"""`iroh://ENDPOINT@HOST:PORT`: QUIC through the PyPI package `iroh`, relays off, loopback only.

Every identity of the suite is an endpoint of its own. The package is told nothing of relays or
discovery and binds loopback addresses alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

import iroh

from meshwire_conformance.attach import Address
from meshwire_conformance.targets.iroh_connection import IrohConnection
from meshwire_conformance.targets.iroh_library import cause, mend, release_put_aside
from meshwire_conformance.transport import Connection, Dial
from meshwire_spec.numbers import ALPN

CLOSE_S = 4.0
"""How long all endpoints together may take to close."""

mend()


class _Loopback(iroh.Preset):
    """No discovery, no relays, and both loopback addresses instead of all addresses."""

    def apply(self, builder: iroh.EndpointBuilder) -> None:
        """Configure the endpoint."""
        builder.apply_minimal()
        builder.bind_addr("127.0.0.1:0")
        builder.bind_addr("[::1]:0")


class IrohDialler:
    """Dials one target; keeps an endpoint for each identity until `close`."""

    shows: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, address: Address) -> None:
        self._address = address
        self._endpoints: dict[bytes, iroh.Endpoint] = {}

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """A connection that is up; raises ConnectionError."""
        release_put_aside()
        address = self._address
        target = iroh.EndpointAddr(
            iroh.EndpointId.from_string(address.endpoint_id),
            None,
            [f"{address.host}:{address.port}"],
        )
        try:
            async with asyncio.timeout(deadline_s):
                endpoint = await self._endpoint(dial.identity)
                connection = await endpoint.connect(target, ALPN.encode())
        except TimeoutError as exc:
            raise ConnectionError(f"no connection within {deadline_s:g} s") from exc
        except iroh.IrohError as exc:
            raise ConnectionError(cause(exc)) from exc
        return IrohConnection(connection, dial, release_put_aside)

    async def _endpoint(self, identity: bytes) -> iroh.Endpoint:
        if identity not in self._endpoints:
            options = iroh.EndpointOptions(
                preset=_Loopback(),
                secret_key=identity,
                alpns=[ALPN.encode()],
                relay_mode=iroh.RelayMode.disabled(),
            )
            self._endpoints[identity] = await iroh.Endpoint.bind(options)
        return self._endpoints[identity]

    async def close(self) -> None:
        """Close every endpoint."""
        endpoints, self._endpoints = list(self._endpoints.values()), {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                closing = (endpoint.close() for endpoint in endpoints)
                await asyncio.gather(*closing, return_exceptions=True)
        release_put_aside()
