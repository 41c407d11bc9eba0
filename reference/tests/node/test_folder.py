"""Documents in a folder: names, what may be there, and what is said of anything else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.node.folder import BadFolder, list_documents, read_document
from meshwire_reference.testing.author import file_name

ODD = (".x:y", "notes:a", "notes:a:b", "notes:Ä/ü %", "x-1._:..", "notes:nodes%3A1")


def test_a_key_names_its_file_and_back(tmp_path: Path) -> None:
    """Whatever the key holds, as long as the file system takes the name."""
    for key in ODD:
        (tmp_path / file_name(key)).write_bytes(b"")
    (tmp_path / ".listing").write_bytes(b"")

    assert sorted(list_documents(tmp_path)) == sorted(ODD)


@given(st.text())
def test_no_key_leaves_the_folder(key: str) -> None:
    """A name has no separator and is never one of the folder's own."""
    name = file_name(key.encode("utf-8", "replace").decode())

    assert "/" not in name
    assert name.endswith(".automerge")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("README.txt", "nothing else"),
        ("nodes.automerge", "no document key (bad-key)"),
        ("tombstones%3Aa%3Ab.automerge", "no document key (bad-key)"),
        ("notes%3A%ff.automerge", "not UTF-8"),
        (".x%3Ay.automerge", "written %2E"),
        (".listing", None),
        (f"notes%3A{'x' * 200}%00.automerge", "bad-key"),
    ],
)
def test_what_is_no_document_is_told_by_its_file(
    tmp_path: Path, name: str, part: str | None
) -> None:
    """A folder read in part would be taken for the whole; what begins with a dot is left alone."""
    (tmp_path / name).write_bytes(b"")
    if part is None:
        assert list_documents(tmp_path) == {}
        return
    with pytest.raises(BadFolder) as told:
        list_documents(tmp_path)

    assert name in str(told.value)
    assert part in str(told.value)


def test_two_names_of_one_key_are_told(tmp_path: Path) -> None:
    """Percent-encoding has many spellings."""
    for name in ("notes%3Aa.automerge", "notes%3a%61.automerge"):
        (tmp_path / name).write_bytes(b"")

    with pytest.raises(BadFolder, match="are both documents of notes:a"):
        list_documents(tmp_path)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    """A missing folder, and a folder in the place of a file, are refused."""
    with pytest.raises(BadFolder, match="cannot read"):
        list_documents(tmp_path / "none")
    (tmp_path / "notes%3Aa.automerge").mkdir()
    with pytest.raises(BadFolder, match="is no file"):
        list_documents(tmp_path)


def test_a_file_is_read_up_to_the_cap(tmp_path: Path) -> None:
    """And not beyond."""
    path = tmp_path / "file"
    path.write_bytes(bytes(10))

    assert read_document(path, 10) == bytes(10)
    with pytest.raises(BadFolder, match="more than 9 bytes"):
        read_document(path, 9)
    with pytest.raises(BadFolder, match="cannot read"):
        read_document(tmp_path / "none", 9)
