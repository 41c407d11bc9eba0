"""The cases of the suite as `meshwire check --list` prints them: as lines, or as JSON."""

import json
from collections.abc import Iterator, Sequence

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import Catalogue, selection_digest
from meshwire_conformance.explain.values import printable


def listing_lines(cases: Sequence[Case]) -> Iterator[str]:
    """Yield a line for each case: id, kind, rules and title."""
    for case in cases:
        rules = ",".join(case.rules) + "  "
        yield f"{case.id}  {case.kind:<24}{rules:<24}{printable(case.title)}"


def listing_json(catalogue: Catalogue, cases: Sequence[Case]) -> str:
    """Return the cases of a catalogue as JSON; its shape is the struct `ListingFile`."""
    # A listing in lines needs none of this.
    import msgspec  # noqa: PLC0415 - see above

    from meshwire_spec.numbers import SPEC_REVISION, VERSION  # noqa: PLC0415 - as above
    from meshwire_spec.schemas.listing import (  # noqa: PLC0415 - as above
        FORMAT_VERSION,
        Demanded,
        ListedCase,
        ListingFile,
    )
    from meshwire_spec.schemas.report import Judge  # noqa: PLC0415 - as above

    file = ListingFile(
        listing=FORMAT_VERSION,
        suite=Judge(
            version=VERSION,
            spec_revision=SPEC_REVISION,
            digest=catalogue.digest,
            selection_digest=selection_digest(cases),
        ),
        cases=[
            ListedCase(
                id=case.id,
                kind=case.kind,
                part=case.part,
                title=case.title,
                rules=list(case.rules),
                needs=list(case.needs),
                results=msgspec.convert(
                    {level: case.demanded(level) for level in case.results}, Demanded
                ),
                control=case.control or msgspec.UNSET,
            )
            for case in cases
        ],
    )
    return json.dumps(msgspec.to_builtins(file), indent=1, ensure_ascii=True)
