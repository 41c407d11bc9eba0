"""The counters over HTTP: what is answered, and to whom nothing is."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain

from meshwire_reference.backend import Backend, Choices, Document, make_config
from meshwire_reference.backend.statistics import NodeStatistics
from meshwire_reference.control import metrics as module
from meshwire_reference.control.metrics import MetricsServer
from meshwire_reference.control.prometheus import exposition
from meshwire_reference.core.counts import COUNTERS, Counts

pytestmark = [pytest.mark.process, pytest.mark.socket]

LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""


def run(test: Callable[[Backend, MetricsServer], Awaitable[None]]) -> None:
    """Run a test against the counters of a node that has one document."""

    async def whole() -> None:
        config = make_config(Choices(("tcp://127.0.0.1:0",), is_open=True, heartbeat_s=0))
        async with asyncio.timeout(LIMIT_S), await Backend.open(config) as backend:
            await backend.document_store.upsert(Document("notes", {"a": 1}, "n1"))
            server = MetricsServer(backend, "127.0.0.1", 0)
            await server.open()
            try:
                await test(backend, server)
            finally:
                await server.close()

    asyncio.run(whole())


async def say(server: MetricsServer, data: bytes) -> bytes:
    """Send bytes, and return all that comes until the server ends the connection."""
    place = urlsplit(server.address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(data)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def fetch(address: str, method: str, accept: str) -> tuple[int, str, str]:
    """Return status, type and text that an HTTP server answers with."""
    place = urlsplit(address)
    assert place.hostname is not None
    client = http.client.HTTPConnection(place.hostname, place.port)
    client.request(method, place.path, headers={"Accept": accept})
    answer = client.getresponse()
    return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()


def test_every_counter_is_served_and_what_is_wrong_is_said() -> None:
    """In the text of Prometheus, as the parser of the library reads it."""

    async def test(backend: Backend, server: MetricsServer) -> None:
        status, _, text = await asyncio.to_thread(fetch, server.address, "GET", "*/*")
        families = {family.name: family for family in read_plain(text)}
        (applied,) = [
            sample.value
            for sample in families["meshwire_applied"].samples
            if sample.labels == {"kind": "local change"}
        ]
        assert (status, applied) == (200, 1)
        assert {f"meshwire_{row.name}" for row in COUNTERS} <= families.keys()
        (kept,) = families["meshwire_now_kept_documents"].samples
        assert kept.value == len(backend.node.keys) == 1

        wanted = "application/openmetrics-text; version=1.0.0"
        status, kind, text = await asyncio.to_thread(fetch, server.address, "GET", wanted)
        assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
        assert "meshwire_frames" in {family.name for family in read_open(text)}
        assert await asyncio.to_thread(fetch, server.address, "POST", "") == (
            405,
            "text/plain; charset=utf-8",
            "only GET /metrics is served\n",
        )
        head = await say(server, b"HEAD /metrics HTTP/1.1\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.endswith(b"\r\n\r\n")
        for line, code in (
            (b"GET / HTTP/1.0\r\n\r\n", b" 404 "),
            (b"\x16\x03\x01\x02\r\n\r\n", b" 400 "),
        ):
            assert code in (await say(server, line)).partition(b"\r\n")[0]
        # Its end may be a reset, since there is more that nobody reads.
        too_long = await say(server, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000)
        assert too_long == b"" or b" 400 " in too_long

    run(test)


def test_an_address_that_cannot_be_bound_is_named() -> None:
    """The operator has given more than one."""

    async def test(backend: Backend, server: MetricsServer) -> None:
        port = urlsplit(server.address).port
        assert port is not None
        second = MetricsServer(backend, "127.0.0.1", port)
        with pytest.raises(OSError, match=f"cannot be served at 127.0.0.1:{port}: "):
            await second.open()

    run(test)


def test_counters_of_peers_have_their_peer_and_their_unit() -> None:
    """Of each peer its own number, and when something was exchanged last, in seconds."""
    one, other = Counts(), Counts()
    one.refused["internal"], one.lost, one.last_ms = 2, 3, 1_800_000_000_250
    statistics = NodeStatistics(
        one.snapshot(), {"ab": one.snapshot(), "cd": other.snapshot()}, {"sessions": 2}
    )
    text, _ = exposition(lambda: statistics, "*/*")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in read_plain(text.decode())
        for sample in family.samples
        if "_created" not in sample.name
    }

    assert samples["meshwire_peer_refused_total", "ab", "internal"] == 2
    assert samples["meshwire_refused_total", "internal"] == 2
    assert samples["meshwire_peer_lost_total", "ab"] == 3
    assert samples["meshwire_peer_lost_total", "cd"] == 0
    assert samples["meshwire_now_sessions",] == 2
    moments = {name: value for name, value in samples.items() if "last_exchange" in name[0]}
    assert moments == {("meshwire_peer_last_exchange_seconds", "ab"): 1_800_000_000.25}


def test_silent_clients_keep_nobody_away_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a connection is closed at once; one that is silent ends in its time."""
    monkeypatch.setattr(module, "CLIENTS_MAX", 1)

    async def test(backend: Backend, server: MetricsServer) -> None:
        await server.close()
        patient = MetricsServer(backend, "127.0.0.1", 0, client_s=LIMIT_S)
        await patient.open()
        place = urlsplit(patient.address)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        # It is served before the next one, since connections are accepted in their order.
        assert await say(patient, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        await patient.close()
        assert await reader.read() == b""
        writer.close()

        brief = MetricsServer(backend, "127.0.0.1", 0, client_s=0.01)
        await brief.open()
        assert await say(brief, b"GET /metr") == b""
        await brief.close()

    run(test)
