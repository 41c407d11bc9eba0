"""The published schemas: made from the structs, valid themselves, and light to import."""

import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from meshwire_spec.schemas.publishing import PUBLICATIONS, Publication, schema_of
from meshwire_spec.schemas.validation import load_schema


@pytest.mark.parametrize("one", PUBLICATIONS, ids=lambda one: one.name)
def test_a_published_schema_is_the_one_of_its_struct(one: Publication) -> None:
    """The committed file is what the struct says, and a schema."""
    Draft202012Validator.check_schema(load_schema(one.name))

    assert load_schema(one.name) == schema_of(one)


@pytest.mark.process
def test_the_structs_load_neither_construct_nor_jsonschema() -> None:
    """Reading a file loads neither construct nor jsonschema."""
    code = (
        "import sys, meshwire_spec.schemas.publishing, meshwire_spec.schemas.validation;"
        "print([name for name in ('construct', 'jsonschema') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
