"""The file of peers: what is read, and the line that is named where something is wrong."""

from pathlib import Path

import pytest

from meshwire_reference.cli.peers_file import PEERS_MAX, read_peers
from meshwire_reference.node.config import ConfigError
from run_here import run_here

ID = "0f7a2b6e" * 8
OTHER = "1e2d3c4b" * 8
KEY = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"
"""One that is a key."""


def write(folder: Path, text: str) -> Path:
    """Write a file of peers."""
    path = folder / "peers.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_file_has_addresses_in_their_order(tmp_path: Path) -> None:
    """TR-061: an endpoint id becomes a part of the address, whose connection has to prove it."""
    path = write(
        tmp_path,
        f"""
# peers of the mast
[[peer]]
address = "tcp://127.0.0.1:4712"
[[peer]]
address = "quic://127.0.0.1:4711"
endpoint_id = "{ID}"
[[peer]]
address = "quic://{OTHER}@127.0.0.1:4713"
endpoint_id = "{OTHER.upper()}"
""",
    )

    assert read_peers(path, lab=False) == [
        "tcp://127.0.0.1:4712",
        f"quic://{ID}@127.0.0.1:4711",
        f"quic://{OTHER}@127.0.0.1:4713",
    ]


def test_a_file_without_peers_has_none(tmp_path: Path) -> None:
    """It may be filled later."""
    assert read_peers(write(tmp_path, "# nobody yet\n"), lab=False) == []


ONE = '[[peer]]\naddress = "tcp://127.0.0.1:4711"\n'
BAD = {
    "no TOML": ("[[peer]", "no TOML"),
    "an unknown table": (f"{ONE}[node]\n", ":3: `node` is unknown"),
    "a list of texts": ('peer = ["tcp://127.0.0.1:4711"]', ":1: `peer` is tables"),
    "one table": ('[peer]\naddress = "tcp://127.0.0.1:1"', "`peer` is tables"),
    "an unknown member": (f"{ONE}\n[[peer]]\nhost = 'a'\n", ":4: peer 2: `host` is unknown"),
    "no address": ("[[peer]]\n", ":1: peer 1: `address` is missing"),
    "no text": ("[[peer]]\naddress = 4711\n", "`address` is a text"),
    "no scheme": ("[[peer]]\naddress = '127.0.0.1:4711'\n", ":1: peer 1: '127.0.0.1:4711'"),
    "port 0": ("[[peer]]\naddress = 'tcp://127.0.0.1:0'\n", ":1: peer 1: "),
    "an unproven address off this machine": (
        "[[peer]]\naddress = 'tcp://192.0.2.7:4711'\n",
        ":1: peer 1: ",
    ),
    "an address twice": (ONE + ONE, ":3: peer 2: `address` is that of peer 1 too"),
    "a place twice": (
        (
            f"[[peer]]\naddress = 'quic://{ID}@127.0.0.1:4711'\n[[peer]]\n"
            "address = 'quic://127.0.0.1:04711'\n"
        ),
        ":3: peer 2: `address` is that of peer 1 too",
    ),
    "a place twice, in IPv6": (
        (
            "[[peer]]\naddress = 'quic://[fd00::1]:4711'\n"
            "[[peer]]\naddress = 'quic://[FD00:0::1]:4711'\n"
        ),
        ":3: peer 2: `address` is that of peer 1 too",
    ),
    "leading zeros": (
        "[[peer]]\naddress = 'quic://127.000.0.1:4711'\n",
        ":1: peer 1: 'quic://127.000.0.1:4711': write 127.000.0.1 in full, as in 127.0.0.1",
    ),
    "a number": ("[[peer]]\naddress = 'quic://0:4711'\n", ":1: peer 1: 'quic://0:4711': write 0"),
    "an unspecified address": (
        "[[peer]]\naddress = 'quic://0.0.0.0:4711'\n",
        ":1: peer 1: 'quic://0.0.0.0:4711': 0.0.0.0 is unspecified, which no single machine has",
    ),
    "an unspecified address of IPv6": (
        "[[peer]]\naddress = 'quic://[::]:4711'\n",
        ":: is unspecified",
    ),
    "a multicast address": (
        "[[peer]]\naddress = 'quic://224.0.0.1:4711'\n",
        "224.0.0.1 is multicast",
    ),
    "a multicast address over iroh": (
        f"[[peer]]\naddress = 'iroh://224.0.0.1:4711'\nendpoint_id = '{KEY}'\n",
        "224.0.0.1 is multicast",
    ),
    "a multicast address over the lab binding": (
        "[[peer]]\naddress = 'tcp://[ff02::1]:4711'\n",
        "ff02::1 is multicast",
    ),
    "a broadcast address": (
        "[[peer]]\naddress = 'quic://255.255.255.255:4711'\n",
        "255.255.255.255 is broadcast",
    ),
    "an address of signed operations": (
        "[[peer]]\naddress = 'ws://192.0.2.7:4711/crdt-sync'\n",
        "`meshwire-node run --rendezvous` dials it",
    ),
    "a short id": (
        "[[peer]]\naddress = 'quic://127.0.0.1:4711'\nendpoint_id = 'abc'\n",
        "peer 1: `endpoint_id` has 64 hex digits",
    ),
    "an id that nobody proves": (f"{ONE}endpoint_id = '{ID}'\n", "over tcp://"),
    "two ids": (
        f"[[peer]]\naddress = 'quic://{OTHER}@127.0.0.1:4711'\nendpoint_id = '{ID}'\n",
        "another endpoint id",
    ),
    "too many": (
        "".join(f"[[peer]]\naddress = 'tcp://127.0.0.1:{1 + at}'\n" for at in range(PEERS_MAX + 1)),
        f"{PEERS_MAX} are read at most",
    ),
}


@pytest.mark.parametrize(("text", "part"), BAD.values(), ids=list(BAD))
def test_a_fault_is_named_with_its_place(text: str, part: str, tmp_path: Path) -> None:
    """TR-060: nothing of such a file is dialled."""
    with pytest.raises(ConfigError) as raised:
        read_peers(write(tmp_path, text), lab=False)

    assert part in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_node_does_not_start_with_a_bad_file(tmp_path: Path) -> None:
    """One line on standard error, and exit code 2."""
    path = write(tmp_path, "[[peer]]\n")
    listen = ("--listen", "tcp://127.0.0.1:0", "--open")
    done = run_here("run", *listen, "--peers-file", str(path))

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "peer 1: `address` is missing" in done.stderr
