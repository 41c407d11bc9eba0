"""Write the vectors about certificates; `--check` compares.

Every message is made here, with the schema codec and keys that are written below; Ed25519 gives the
same signature each time. A negative differs from its control in what its title says.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import msgspec

from meshwire_conformance.protocol.certificates import Authority
from meshwire_spec.numbers import MESH_CERTIFICATE_MAX, SIGNATURE
from meshwire_spec.schemas.certificates import CertificateFile
from vector_files import LEDGER, ROOT, VECTORS, read_ledger

PATH: Final = VECTORS / "certificates" / "cases" / "checks.json"
NOW: Final = 1_700_000_000_000
DAY: Final = 86_400_000
MESH: Final = "3F1A90C2"
AUTHORITY = Authority(bytes(range(1, 33)), MESH)
DELEGATE = Authority(bytes(range(33, 65)), MESH)
SECOND = Authority(bytes(range(65, 97)), MESH)
FOREIGN = Authority(bytes(range(97, 129)), MESH)
NODE: Final = Authority(bytes(range(129, 161)), MESH).key
"""The endpoint id of the connection."""
OTHER: Final = Authority(bytes(range(161, 193)), MESH).key
ENROLLS: Final[dict[str, Any]] = {"permissions": 0x07, "tier": 1}
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""Order of the group of Ed25519."""
BEGAN: Final = NOW - DAY
ENDS: Final[dict[str, Any]] = {"expires_at": str(NOW + DAY)}

HUNTS: Final = {
    "bad-signature": "the signature is not verified, or not over every byte before it",
    "wrong-subject": "the endpoint id of the connection is not compared",
    "wrong-mesh": "the mesh is not compared",
    "not-yet-valid": "the begin is not compared",
    "expired": "the end is not compared, or a moment late",
    "revoked": "revocations are not asked for",
    "unknown-issuer": "a key that certifies itself, or any issuer, is trusted",
    "too-deep": "a chain has no bound",
    "issuer-not-valid": "the certificate of the issuer is verified once, or not at all",
    "issuer-may-not-enroll": "any member may issue certificates",
    "permissions-exceeded": "a holder passes on what it may not",
    "tier-exceeded": "a holder certifies above its own tier",
    "trailing-bytes": "the length of the object is not checked",
    "truncated": "the length of the object is not checked",
}
HARM: Final = "who should be refused takes part in the mesh"


def issued(by: Authority = AUTHORITY, subject: str = NODE, **changes: Any) -> bytes:
    """Return a mesh certificate."""
    return by.certify(subject, BEGAN, **{**ENDS, **changes})


def member(by: Authority = AUTHORITY, subject: str = NODE, **changes: Any) -> bytes:
    """Return a membership certificate."""
    return by.admit(subject, BEGAN, **{**ENDS, **changes})


def revoked(subject: str = NODE, by: Authority = AUTHORITY, **changes: Any) -> bytes:
    """Return a revocation."""
    return by.revoke(subject, NOW - 5, **changes)


def altered(data: bytes, at: int, bit: int = 1) -> bytes:
    """Return bytes with one bit that differs."""
    return data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]


def malleable(data: bytes) -> bytes:
    """Return an object whose signature has the order of the group added to its second half."""
    number = int.from_bytes(data[-32:], "little") + ORDER
    return data[:-32] + number.to_bytes(32, "little")


OF_DELEGATE: Final = issued(subject=DELEGATE.key, **ENROLLS)


@dataclass(frozen=True, slots=True)
class Check:
    """A vector; without `reasons` the message counts. `control` is the id of a positive."""

    number: int
    title: str
    rules: tuple[str, ...]
    data: bytes
    reasons: tuple[str, ...] = ()
    held: tuple[bytes, ...] = ()
    revocations: tuple[bytes, ...] = ()
    kind: str = "mesh_certificate"
    subject: str = NODE
    now: int = NOW
    control: int = 3390

    def row(self) -> dict[str, Any]:
        """Return it as the file has it."""
        inputs = {
            "kind": self.kind,
            "data": self.data.hex(),
            "subject": self.subject,
            "now": str(self.now),
            "mesh_id": MESH,
            "roots": [AUTHORITY.key],
            "certificates": [one.hex() for one in self.held],
            "revocations": [one.hex() for one in self.revocations],
        }
        negative = {
            "reasons": list(self.reasons),
            "hunts": HUNTS[self.reasons[0]] if self.reasons else "",
            "harm": HARM,
            "control": f"MW-{self.control}",
        }
        return {
            "id": f"MW-{self.number}",
            "kind": "certificate_check",
            "title": self.title,
            "rules": list(self.rules),
            "inputs": inputs,
            "result": {"wire": "any", "strict": "reject" if self.reasons else "valid"},
            **(negative if self.reasons else {}),
            "source": "made: tools/make_certificates.py",
        }


def positives() -> Iterator[Check]:
    """Yield what counts."""
    own = issued()
    by_delegate = issued(DELEGATE, tier=1)
    yield Check(3390, "a certificate of a root, within its term", ("CT-001",), own)
    yield Check(3391, "at the moment of its issue", ("CT-013",), own, now=BEGAN)
    yield Check(3392, "at the last moment of its term", ("CT-014",), own, now=NOW + DAY - 1)
    never = issued(expires_at="0")
    yield Check(3393, "without an end, at the greatest time", ("CT-014",), never, now=2**64 - 1)
    yield Check(
        3394, "with every bit of permissions, of a root", ("CT-020",), issued(permissions=255)
    )
    root = issued(subject=AUTHORITY.key)
    yield Check(3395, "a root that certifies itself", ("CT-016",), root, subject=AUTHORITY.key)
    held = (OF_DELEGATE,)
    yield Check(3396, "of a delegate, with its tier", ("CT-019", "CT-021"), by_delegate, held=held)
    more = (*holding(expires_at=str(NOW)), *held)
    yield Check(
        3397,
        "of a delegate one of whose certificates has ended",
        ("CT-018",),
        by_delegate,
        held=more,
    )
    lost = (revoked(AUTHORITY.key),)
    yield Check(3398, "of a root whose key a revocation names", ("CT-016",), own, revocations=lost)
    others = (
        revoked(OTHER),
        revoked(by=FOREIGN),
        revoked(mesh_id="3F1A90C3"),
        malleable(revoked()),
    )
    yield Check(3399, "beside revocations that do not count", ("CT-022",), own, revocations=others)


def positives_of_other_kinds() -> Iterator[Check]:
    """Yield a membership certificate and a revocation that count."""
    yield Check(
        3400,
        "a membership certificate of a root",
        ("CT-001",),
        member(),
        kind="membership_certificate",
    )
    yield Check(
        3401, "a revocation by a root", ("CT-002", "CT-022"), revoked(), kind="mesh_revocation"
    )


BAD: Final = ("bad-signature",)


def changed() -> Iterator[Check]:
    """Yield certificates of which one field was changed after they were signed."""
    own = issued()
    of_text = 33 + len(MESH)
    places = {
        "subject": (0, ("wrong-subject", *BAD)),
        "mesh_id": (33, ("wrong-mesh", *BAD)),
        "node_id": (of_text + 1, BAD),
        "tier": (of_text + 7, BAD),
        "permissions": (of_text + 8, BAD),
        "issued_at": (of_text + 9, BAD),
        "expires_at": (of_text + 17, BAD),
        "issuer": (of_text + 25, (*BAD, "unknown-issuer")),
        "signature": (len(own) - SIGNATURE, BAD),
    }
    for number, (name, (at, reasons)) in enumerate(places.items(), 3402):
        title = f"with another bit in `{name}` than was signed"
        yield Check(number, title, ("CT-010",), altered(own, at), reasons)
    yield Check(
        3411,
        "with a signature to which the order of the group was added",
        ("CT-010",),
        malleable(own),
        BAD,
    )
    of_revocation = own[:-SIGNATURE] + revoked()[-SIGNATURE:]
    yield Check(3412, "with the signature of a revocation", ("CT-010",), of_revocation, BAD)
    yield Check(
        3413, "with a signature of zeros", ("CT-010",), own[:-SIGNATURE] + bytes(SIGNATURE), BAD
    )


def one_of(base: Check, number: int, title: str, rule: str, *reasons: str, **more: Any) -> Check:
    """Return a negative that differs from a positive."""
    return replace(base, number=number, title=title, rules=(rule,), reasons=reasons, **more)


def of_roots() -> Iterator[Check]:
    """Yield certificates that a root has issued and that do not count."""
    own = issued()
    other = issued(subject=OTHER)
    yield Check(3414, "a certificate of another endpoint", ("CT-011",), other, ("wrong-subject",))
    for number, mesh in ((3415, "3f1a90c2"), (3416, "3F1A90C"), (3417, "")):
        title = f"a certificate of the mesh `{mesh}`"
        yield Check(number, title, ("CT-012",), issued(mesh_id=mesh), ("wrong-mesh",))
    yield Check(
        3418, "a moment before its issue", ("CT-013",), own, ("not-yet-valid",), now=BEGAN - 1
    )
    yield Check(3419, "at the end of its term", ("CT-014",), own, ("expired",), now=NOW + DAY)
    lost = (revoked(),)
    yield Check(3420, "of a node that is revoked", ("CT-015",), own, ("revoked",), revocations=lost)
    later = (AUTHORITY.revoke(NODE, NOW + DAY),)
    yield Check(
        3421,
        "of a node that is revoked from tomorrow on",
        ("CT-015",),
        own,
        ("revoked",),
        revocations=later,
    )


def of_foreign_keys() -> Iterator[Check]:
    """Yield certificates of keys that are no roots."""
    unknown = ("unknown-issuer",)
    root = issued(FOREIGN)
    itself = issued(FOREIGN, FOREIGN.key, permissions=0x87)
    yield Check(
        3422,
        "of a key that is no root, with its certificate of itself",
        ("CT-016",),
        root,
        unknown,
        held=(itself,),
    )
    yield Check(3423, "of a key that is no root", ("CT-016",), root, unknown)
    yield Check(
        3424,
        "of the endpoint itself",
        ("CT-016",),
        FOREIGN.certify(FOREIGN.key, BEGAN),
        unknown,
        subject=FOREIGN.key,
    )


def holding(**changes: Any) -> tuple[bytes, ...]:
    """Return the only certificate that is held: that of the delegate, with these changes."""
    return (issued(subject=DELEGATE.key, **{**ENROLLS, **changes}),)


def of_delegates() -> Iterator[Check]:
    """Yield certificates that a delegate has issued; the control is one that it may issue."""
    one = partial(one_of, Check(3396, "", (), issued(DELEGATE), held=(OF_DELEGATE,), control=3396))
    yield one(
        3425, "of a delegate whose certificate is not held", "CT-016", "unknown-issuer", held=()
    )
    second = issued(DELEGATE, SECOND.key, permissions=0x03)
    yield one(
        3426,
        "at the end of a chain of three",
        "CT-017",
        "too-deep",
        data=issued(SECOND),
        held=(OF_DELEGATE, second),
    )
    loop = (issued(SECOND, DELEGATE.key, **ENROLLS), issued(DELEGATE, SECOND.key, **ENROLLS))
    yield one(3427, "of a delegate in a loop of two", "CT-017", "too-deep", held=loop)
    ways: tuple[tuple[int, str, dict[str, Any]], ...] = (
        (3428, "of a delegate whose certificate has ended", {"expires_at": str(NOW)}),
        (3429, "of a delegate whose certificate has not begun", {"issued_at": str(NOW + 1)}),
        (3430, "of a delegate of another mesh", {"mesh_id": "3F1A90C3"}),
    )
    for number, title, changes in ways:
        yield one(number, title, "CT-018", "issuer-not-valid", held=holding(**changes))


def of_issuers() -> Iterator[Check]:
    """Yield certificates of a delegate that was revoked, or that may not issue them."""
    one = partial(one_of, Check(3396, "", (), issued(DELEGATE), held=(OF_DELEGATE,), control=3396))
    lost = (revoked(DELEGATE.key),)
    yield one(3431, "of a delegate that is revoked", "CT-018", "issuer-not-valid", revocations=lost)
    forged = (altered(OF_DELEGATE, 33 + len(MESH) + 8, 0x80),)
    yield one(
        3432,
        "of a delegate whose certificate was changed",
        "CT-018",
        "issuer-not-valid",
        held=forged,
    )
    plain = holding(permissions=0x83)
    yield one(
        3433, "of a holder that may not enroll", "CT-019", "issuer-may-not-enroll", held=plain
    )
    every = holding(permissions=0x87)
    for number, permissions in ((3434, 0x04), (3435, 0x80), (3436, 0x08)):
        data = issued(DELEGATE, permissions=permissions)
        title = f"of a delegate, with permission 0x{permissions:02x}"
        yield one(number, title, "CT-020", "permissions-exceeded", held=every, data=data)
    above = issued(DELEGATE, tier=0)
    yield one(
        3437, "of a delegate, for a tier above its own", "CT-021", "tier-exceeded", data=above
    )


def of_other_lengths() -> Iterator[Check]:
    """Yield certificates with too many or too few bytes."""
    own = issued()
    yield Check(3438, "with one byte after it", ("EN-012",), own + b"\x00", ("trailing-bytes",))
    yield Check(3439, "without its last byte", ("EN-010",), own[:-1], ("truncated",))
    long = own + bytes(MESH_CERTIFICATE_MAX)
    yield Check(
        3440, "with more bytes than any certificate", ("EN-012",), long, ("trailing-bytes",)
    )


def of_members() -> Iterator[Check]:
    """Yield membership certificates that do not count."""
    base = Check(3400, "", (), member(), kind="membership_certificate", control=3400)
    one = partial(one_of, base)
    yield one(
        3441,
        "a membership certificate with another bit in its callsign",
        "CT-010",
        *BAD,
        data=altered(member(), 33),
    )
    yield one(
        3442,
        "a membership certificate of another member",
        "CT-011",
        "wrong-subject",
        data=member(subject=OTHER),
    )
    yield one(
        3443,
        "a membership certificate of another mesh",
        "CT-012",
        "wrong-mesh",
        data=member(mesh_id="3F1A90C3"),
    )
    yield one(
        3444, "a membership certificate whose term is over", "CT-014", "expired", now=NOW + DAY
    )
    yield one(
        3445,
        "a membership certificate of a key that is no root",
        "CT-016",
        "unknown-issuer",
        data=member(FOREIGN),
    )


def of_revocations() -> Iterator[Check]:
    """Yield revocations that do not count."""
    one = partial(one_of, Check(3401, "", (), revoked(), kind="mesh_revocation", control=3401))
    yield one(
        3446,
        "a revocation by a delegate",
        "CT-022",
        "unknown-issuer",
        data=revoked(by=DELEGATE),
        held=(OF_DELEGATE,),
    )
    yield one(
        3447,
        "a revocation of another mesh",
        "CT-022",
        "wrong-mesh",
        data=revoked(mesh_id="3F1A90C3"),
    )
    yield one(
        3448,
        "a revocation signed without its prefix",
        "CT-002",
        *BAD,
        data=AUTHORITY.resigned(revoked()),
    )
    yield one(
        3449,
        "a revocation in the document of another endpoint",
        "CT-035",
        "wrong-subject",
        data=revoked(OTHER),
    )


GROUPS: Final = (
    positives,
    positives_of_other_kinds,
    changed,
    of_roots,
    of_foreign_keys,
    of_delegates,
    of_issuers,
    of_other_lengths,
    of_members,
    of_revocations,
)


def rows() -> list[dict[str, Any]]:
    """Return every vector in the order of ids."""
    made = (check for group in GROUPS for check in group())
    return [check.row() for check in sorted(made, key=lambda check: check.number)]


def main() -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say what is stale")
    check = parser.parse_args().check
    made = rows()
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in made)
    text = f'{{\n"part": "certificates",\n"vectors": [\n{body}\n]\n}}\n'
    msgspec.json.decode(text, type=CertificateFile)
    ledger = read_ledger()
    for row in made:
        ledger.note(row["id"], row["title"])
    stale = 0
    for path, wanted in ((PATH, text), (LEDGER, ledger.text())):
        if path.exists() and path.read_text() == wanted:
            continue
        stale += 1
        print(f"make_certificates: {path.relative_to(ROOT)} is stale", file=sys.stderr)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted)
    print(f"{len(made)} vectors of certificates, {stale} files changed")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
