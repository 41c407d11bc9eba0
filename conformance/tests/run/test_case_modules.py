"""Tests that the table of case modules is complete."""

import re

from meshwire_conformance.catalogue.data_files import PACKAGE
from meshwire_conformance.run.case_modules import CASE_MODULES

REGISTERS = re.compile(r"^(@(\w+_)?case\($|    (\w+_)?case\(case_id,)", re.MULTILINE)
"""The line that makes a function a case, by `case` or by a partial of it, also in a loop."""


def test_every_module_that_registers_cases_is_in_the_table() -> None:
    """One that nothing imports has no cases, and no other check would miss them."""
    named = {module.__name__.rpartition(".")[2] for module in CASE_MODULES}
    registering = {
        path.stem
        for path in (PACKAGE / "cases").glob("*.py")
        if REGISTERS.search(path.read_text("utf-8"))
    }

    assert named == registering
