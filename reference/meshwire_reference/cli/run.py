"""`meshwire-node run`: start a node, print one line when it is ready, and serve until a signal.

Bad options, a missing worker and an address that cannot be bound end in one line on stderr and exit
code 2; SIGTERM, SIGINT and SIGHUP end in exit code 0.
"""

import asyncio
import gc
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from meshwire_reference.backend import Backend
from meshwire_reference.cli.collections import read_collections
from meshwire_reference.cli.config_file import open_config
from meshwire_reference.cli.peers_file import read_peers
from meshwire_reference.cli.profiles import check_profile, is_of_operations
from meshwire_reference.cli.ready import enrollment_facts, ready_line
from meshwire_reference.cli.run_options import RunOptions
from meshwire_reference.cli.settings import check_texts, read_options
from meshwire_reference.control.server import ControlServer
from meshwire_reference.core.state.policy import ANYONE, PUBLISHED, Collections
from meshwire_reference.documents.process import Unavailable
from meshwire_reference.extras import install_line
from meshwire_reference.node.config import Config, ConfigError, make_config
from meshwire_reference.node.driver import Node
from meshwire_reference.node.folder import BadFolder
from meshwire_reference.node.membership import UnfitCertificate
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.member_folder import (
    CERTIFICATE,
    ENDPOINT_KEY,
    PEERS,
    MemberFolder,
)
from meshwire_reference.store.mesh_folder import FORMATION_SECRET, REVOCATIONS, ROOTS
from meshwire_reference.transport.base import AddressRefused, TransportError
from meshwire_reference.transport.registry import check_offered
from meshwire_spec.numbers import CLOSED_COLLECTIONS

if TYPE_CHECKING:
    from meshwire_reference.control.metrics import MetricsServer

USAGE = 2
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that end a node."""


def run_command(options: RunOptions, given: frozenset[str]) -> None:
    """Run a node until SIGTERM; prints one line on standard output once it is ready.

    Examples: meshwire-node run --listen tcp://127.0.0.1:0 --open,
    meshwire-node run --config node.toml --peer tcp://127.0.0.1:4711
    and meshwire-node run --listen tcp://127.0.0.1:0 --formation-id alpha
    --formation-secret-file secret.txt --connect tcp://127.0.0.1:4711 --reconcile
    """
    if getattr(sys, "stdout", None) is None:
        fail("standard output is closed: the ready line cannot be written")
    try:
        check_texts(options)
        options, collections = _configured(options, given)
        if is_of_operations(options):
            # As in `of_operations`.
            from meshwire_reference.cli.operations import serve_operations  # noqa: PLC0415

            raise typer.Exit(asyncio.run(serve_operations(options.of_operations())))
        config = make_config(replace(options.choices(), collections=collections))
        for address in (*config.listen, *config.connect, *config.enroll_listen):
            check_offered(address)
    except (AddressRefused, ConfigError) as exc:
        fail(str(exc))
    for warning in config.warnings:
        sys.stderr.write(f"meshwire-node: warning: {warning}\n")
    raise typer.Exit(asyncio.run(serve(config)))


def _configured(options: RunOptions, given: frozenset[str]) -> tuple[RunOptions, Collections]:
    """Return the options and the table of collections once every file that they name is read.

    `given` are the names of the options of the command line, which those of a file do not replace.
    Raises ConfigError.
    """
    collections, file, read = PUBLISHED, None, {}
    if options.config is not None:
        file = open_config(options.config)
        read = read_options(file, RunOptions)
        collections = read_collections(file)
        options = replace(options, **{name: read[name] for name in read.keys() - given})
    check_profile(options, given, file, frozenset(read))
    if options.peers_file is not None:
        more = read_peers(options.peers_file, lab=options.lab)
        options = replace(options, connect=[*(options.connect or ()), *more])
    if options.member is not None:
        options = as_member(options, options.member)
        senders = {**dict.fromkeys(CLOSED_COLLECTIONS, ANYONE), **collections.senders}
        collections = replace(collections, senders=senders)
    return options, collections


def as_member(options: RunOptions, path: Path) -> RunOptions:
    """Return the options of a node that is a member of a mesh. Raises ConfigError."""
    try:
        credentials = MemberFolder(path).credentials()
        if not options.is_open and options.formation_secret_file is None:
            MemberFolder(path).check_secret(credentials)
    except StoreError as exc:
        raise ConfigError(str(exc)) from exc
    mesh_id, revocations = credentials.mesh_id, path / REVOCATIONS
    own: dict[str, object] = {
        "endpoint_key_file": path / ENDPOINT_KEY,
        "certificate_file": path / CERTIFICATE,
        "peer_certificates_file": path / PEERS,
        "roots_file": path / ROOTS,
        "mesh_id": mesh_id,
        **({"revocations_file": revocations} if revocations.exists() else {}),
    }
    if not options.is_open:
        own |= {"formation_id": mesh_id, "formation_secret_file": path / FORMATION_SECRET}
    chosen: dict[str, Any] = {
        name: value for name, value in own.items() if getattr(options, name) is None
    }
    return replace(options, **chosen, require_certificates=True)


def fail(problem: str) -> NoReturn:
    """Print the problem on one line and exit with the code for wrong usage."""
    # What a person has given may contain line ends.
    sys.stderr.write(f"meshwire-node: {' '.join(problem.split())}\n")
    raise typer.Exit(USAGE)


async def serve(config: Config) -> int:
    """Run a node until a signal ends it and return the exit code."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        # `nohup` ignores SIGHUP, and that is kept.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stopping.set)
    backend = Backend(config)
    node = backend.node
    control = None if config.control is None else ControlServer(backend, config.control)
    metrics = None if config.metrics is None else _metrics_server(backend, *config.metrics)
    try:
        if await _started(node, stopping):
            if control is not None:
                await control.open()
            if metrics is not None:
                await metrics.open()
            # What is there now stays: to look for garbage in it would take 20 ms.
            gc.freeze()
            served: dict[str, object] = {} if metrics is None else {"metrics": metrics.address}
            if node.enrollment is not None:
                served["enrollment"] = enrollment_facts(node.enrollment)
            sys.stdout.write(ready_line(config, node.addresses, node.endpoint_id, served) + "\n")
            sys.stdout.flush()
            return await _ended(node, stopping)
    except (BadFolder, UnfitCertificate, Unavailable, TransportError, OSError) as exc:
        # A file name may contain line ends.
        sys.stderr.write(f"meshwire-node: {' '.join(str(exc).split())}\n")
        return USAGE
    finally:
        if control is not None:
            await control.close()
        if metrics is not None:
            await metrics.close()
        await backend.close()
    return 0


def _metrics_server(backend: Backend, host: str, port: int) -> "MetricsServer":
    try:
        # It loads prometheus-client, which other nodes do without.
        from meshwire_reference.control.metrics import MetricsServer  # noqa: PLC0415
    except ImportError:
        fail(f"--metrics needs prometheus-client: {install_line('node')}")
    return MetricsServer(backend, host, port)


async def _ended(node: Node, stopping: asyncio.Event) -> int:
    """Wait for a signal or for the end of the store; return the exit code."""
    waits = [asyncio.ensure_future(event.wait()) for event in (stopping, node.has_failed)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if node.has_failed.is_set() and node.store_failure is not None:
        raise node.store_failure
    return 0


async def _started(node: Node, stopping: asyncio.Event) -> bool:
    """Start a node; return False if a signal arrives first. Raises what `Node.start` raises."""
    starting = asyncio.ensure_future(node.start())
    ended = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((starting, ended), return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
        return False
    starting.result()
    return True
