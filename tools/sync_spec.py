"""Write the generated parts of pages, `rules.json` and `harness.json`; `--check` compares.

Usage: python tools/sync_spec.py [--check]. Exit status 1 if there are problems, printed one per
line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from pathlib import Path

import page_examples
from meshwire_spec.errors import SpecError
from meshwire_spec.numbers import KINDS
from pages import SPEC, Problem, all_rules, fill, link_problems, page_paths, page_problems, regions

RULES_FILE = SPEC / "meshwire_spec" / "rules.json"
VALUES_PAGE = "12-harness.md"
HARNESS_FILE = SPEC / "meshwire_spec" / "schemas" / "harness.json"


def rules_text(folder: Path = SPEC) -> str:
    """Return the content of `rules.json` for these pages."""
    rows = [dataclasses.asdict(rule) for rule in all_rules(folder)]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"


def harness_text(current: str) -> str:
    """Return the schema of the harness with the values of every kind, from the layouts."""
    from meshwire_spec.layouts import LAYOUTS  # noqa: PLC0415 - as in `filled`

    kinds = list(LAYOUTS)
    value = {kind: {"$ref": f"#/$defs/values/{kind}"} for kind in kinds}
    schema = json.loads(current)
    defs = schema["$defs"]
    decode, encode = (
        request
        for request in defs["request"]["oneOf"]
        if request["properties"]["op"]["const"] in ("decode", "encode")
    )
    for holder in (decode["properties"]["kind"], encode["properties"]["kind"]):
        holder["enum"] = kinds
    encode["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"properties": {"value": value[kind]}},
        }
        for kind in kinds
    ]
    defs["hello"]["properties"]["kinds"]["items"]["enum"] = kinds
    defs["decoded"]["properties"]["value"]["anyOf"] = list(value.values())
    defs["values"] = {kind: layout.schema() for kind, layout in LAYOUTS.items()}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def filled(text: str) -> str:
    """Return a page with its generated regions up to date."""
    # After rules.json is written, because one of the tables is made of it.
    from meshwire_spec.render import render  # noqa: PLC0415 - see above

    tables = {}
    for marker in regions(text):
        name, _, arguments = marker.partition(":")
        own = page_examples.RENDERERS.get(name)
        tables[marker] = own(arguments.strip()) if own else render(marker)
    return fill(text, tables)


def value_problems(page: str) -> list[Problem]:
    """Return the kinds that the table of values of the harness does not name exactly once."""
    section = re.search(r"^## Values .*?(?=^## )", page, re.MULTILINE | re.DOTALL)
    named = [
        name
        for line in (section[0] if section else "").splitlines()
        if line.startswith("|")
        for name in re.findall(r"`(\w+)`", line)
    ]
    wrong = [kind for kind in KINDS if named.count(kind) != 1]
    return [Problem(VALUES_PAGE, 0, f"the table of values names {kind} not once") for kind in wrong]


def prose_problems(folder: Path = SPEC) -> list[Problem]:
    """Return all faults of form of the pages, duplicate ids included."""
    texts = {path.name: path.read_text() for path in page_paths(folder)}
    problems = [problem for name, text in texts.items() for problem in page_problems(name, text)]
    seen: dict[str, str] = {}
    for rule in all_rules(folder):
        if rule.id in seen:
            problems.append(Problem(rule.page, 0, f"{rule.id} is given on {seen[rule.id]} too"))
        seen[rule.id] = rule.page
    if VALUES_PAGE in texts:
        problems += value_problems(texts[VALUES_PAGE])
    return problems + link_problems(texts)


def _update(path: Path, wanted: str, *, check: bool) -> list[str]:
    current = path.read_text() if path.exists() else ""
    if current == wanted:
        return []
    if check:
        return [f"{path.name} is stale: run python tools/sync_spec.py"]
    path.write_text(wanted)
    print(f"wrote {path.name}")
    return []


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, list stale parts")
    options = parser.parse_args(arguments)
    problems = _update(RULES_FILE, rules_text(), check=options.check)
    problems += _update(HARNESS_FILE, harness_text(HARNESS_FILE.read_text()), check=options.check)
    for path in page_paths():
        try:
            problems += _update(path, filled(path.read_text()), check=options.check)
        except SpecError as fault:
            problems.append(f"{path.name}: {fault}")
    problems += [str(problem) for problem in prose_problems()]
    for line in problems:
        print(line)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
