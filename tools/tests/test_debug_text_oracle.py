"""The frozen debug texts of a program in the language of deployed peers, and the program itself."""

import pytest

import debug_text_oracle
from meshwire_reference.oplog.debug_text import debug_text
from meshwire_reference.oplog.tagged import read_tree


def test_the_reference_and_the_model_write_the_frozen_texts() -> None:
    """Byte for byte, of numbers, of texts from all of Unicode, and of what is within them."""
    frozen = debug_text_oracle.FROZEN.read_text("utf-8")
    _, *texts = frozen.removesuffix("\n").split("\n")

    assert [debug_text(read_tree(tree)) for tree in debug_text_oracle.trees()] == texts
    assert debug_text_oracle.differences(frozen) == []
    assert debug_text_oracle.differences(frozen.replace("Null", "null", 1)) == ["Null is not null"]


@pytest.mark.process
def test_the_program_prints_the_frozen_texts() -> None:
    """Where cargo is present."""
    try:
        debug_text_oracle.printed()
    except OSError as exc:
        pytest.skip(str(exc))

    assert debug_text_oracle.main(["--check"]) == 0
