"""Data that comes with the suite: the packaged copy, else the one of the checkout."""

from pathlib import Path

from meshwire_conformance.errors import SuiteFault

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parents[1]


def data_folder(packaged: str, checkout: str) -> Path:
    """Return the first existing folder: the packaged one, else that of the checkout.

    Raises SuiteFault if neither exists.
    """
    for folder in (PACKAGE / packaged, CHECKOUT / checkout):
        if folder.is_dir():
            return folder
    raise SuiteFault(f"the folder {checkout} is missing: neither packaged nor beside the package")


def vectors_folder() -> Path:
    """Return folder of the vectors; raises SuiteFault if it is missing."""
    return data_folder("_vectors", "vectors")
