"""Format every file of transcripts.

A transcript has one member per line and one step per line, so that a change of one step is a change
of one line. With `--check` nothing is written; the exit status is 1 if a file would change.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meshwire_conformance.catalogue.transcripts import read_file, transcript_files
from meshwire_conformance.errors import SuiteFault
from vector_files import fault_text

LISTS = ("steps",)
MAPS = ("documents",)


def one_line(value: Any) -> str:
    """Return a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def lines_of_transcript(transcript: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one transcript; its members keep their order."""
    members = []
    for name, value in transcript.items():
        if name in LISTS:
            inner = ",\n".join(f"        {one_line(item)}" for item in value)
            members.append(f"      {one_line(name)}: [\n{inner}\n      ]")
        elif name in MAPS:
            inner = ",\n".join(
                f"        {one_line(key)}: {one_line(item)}" for key, item in value.items()
            )
            members.append(f"      {one_line(name)}: {{\n{inner}\n      }}")
        else:
            members.append(f"      {one_line(name)}: {one_line(value)}")
    yield "    {\n" + ",\n".join(members) + "\n    }"


def text_of(content: dict[str, Any]) -> str:
    """Return the text of a whole file."""
    head = [f"  {one_line(name)}: {one_line(content[name])}" for name in ("part", "about")]
    body = ",\n".join(text for one in content["transcripts"] for text in lines_of_transcript(one))
    return "{\n" + ",\n".join(head) + f',\n  "transcripts": [\n{body}\n  ]\n}}\n'


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; return 1 if one is not formatted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    wanted: dict[Path, str] = {}
    seen: dict[str, str] = {}
    for path in transcript_files():
        try:
            transcripts = read_file(path).transcripts
        except SuiteFault as fault:
            print(fault_text(fault))
            return 1
        for transcript in transcripts:
            if transcript.id in seen:
                print(f"{path.name}: {transcript.id} is also in {seen[transcript.id]}")
                return 1
            seen[transcript.id] = path.name
        wanted[path] = text_of(json.loads(path.read_text("utf-8")))
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path.name}")
        if not check:
            path.write_text(wanted[path], "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
