"""Vectors about certificates, each of them a case.

The format is `meshwire_spec.schemas.certificates`.
"""

from collections.abc import Iterator

import msgspec

from meshwire_conformance.catalogue.case import Case, case_of_data
from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.errors import SuiteFault
from meshwire_spec.schemas.certificates import CertificateFile, CertificateVector

CHECK = "certificate_check"
"""Kind of these cases, and the operation that they need."""
PART = "certificates"


def case_of(vector: CertificateVector) -> Case:
    """Return the case for a vector."""
    return case_of_data(vector, vector.kind, PART)


def load_cases() -> Iterator[Case]:
    """Yield every case of these vectors; raises SuiteFault for a file of another format."""
    for path in sorted((vectors_folder() / PART / "cases").glob("*.json")):
        try:
            file = msgspec.json.decode(path.read_bytes(), type=CertificateFile)
        except msgspec.DecodeError as exc:
            raise SuiteFault(f"{path.name} is no file of vectors of certificates: {exc}") from exc
        yield from map(case_of, file.vectors)
