"""A second model of `oplog/1` at level strict: as simple as it can be, slow, made from the pages.

It shares no code with the reference or the suite. An operation is a dict as the vectors spell it,
a document is the list of operations that were applied, and everything that it needs is
searched for from the beginning. `make_oplog.py` takes the strict views of the vectors from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from oplog_model_texts import digest_text, hash_of, id_text, is_signed, number_of

ROOT = "00" * 32
SEQUENCE_MAX = 9_007_199_254_740_991
AHEAD_MAX = 1_048_576
COPIES_MAX = 64
PATH_MAX = 64
DEPENDENCIES_MAX = 1_024
MISSING = "MissingCausalDependencies"
NEWS = frozenset({"Ok", "AlreadySeen"})

# A type is a dict of fields, a list with the type of its elements, or the kind of a register or of
# a bare value, which begins with `=`.
SUB = {"inner": {"b": "bool", "n": "=number"}, "tags": ["=text"]}
DOCUMENTS: dict[str, Any] = {
    "pipeline": {
        "items": [
            {
                "story_id": "text", "stage": "text", "name": "text", "agent": "text",
                "retry_count": "number", "blocked": "bool", "depends_on": "text",
                "claimed_by": "text", "claimed_at": "number",
            }
        ],
        "nodes": [
            {
                "node_id": "text", "address": "text", "last_seen": "number",
                "last_seen_ms": "number or null", "alive": "bool",
            }
        ],
    },
    "types": {
        "rv": "any", "rb": "bool", "rf": "number", "ri": "integer", "rs": "text",
        "rc": "character", "rlist": "numbers", "prim": "=number",
        "lv": ["=any"], "ls": ["=text"], "lf": ["=number"], "lc": ["=character"],
        "lreg": ["number"], "grid": [["bool"]], "sub": SUB, "lsub": [SUB],
    },
}  # fmt: skip
BARE = {"=number": ["num", "0" * 16], "=text": ["str", ""], "=bool": ["bool", False]}
NULL = ["null"]
NUMBERS = frozenset({"number", "number or null", "integer"})


# --- What is there ---

ModelState = dict[str, Any]


def new_state(document: str) -> ModelState:
    """Return an empty document."""
    return {"type": DOCUMENTS[document], "applied": [], "waiting": []}


def elements_of(state: ModelState, path: list[Any], content: Any, owner: str) -> list[Any]:
    """Return the elements of the list at `path`, which began with an array in an element."""
    found = []
    origin = ROOT
    for number, part in enumerate(content[1] if content else [], 1):
        one = {"origin": origin, "author": owner, "seq": str(number), "content": part}
        one["id"] = hash_of(id_text({**one, "is_deleted": False}))
        origin = one["id"]
        found.append(one)
    for operation in state["applied"]:
        inner = operation["inner"]
        is_here = inner["path"][:-1] == path and not inner["is_deleted"]
        if is_here and all(inner["id"] != one["id"] for one in found):
            found.append(inner)
    return found


def find(state: ModelState, path: list[Any]) -> Any:
    """Return type, first content and innermost element of what is at `path`, or None.

    None means that an element on the path is not there.
    """
    kind, content, owner = state["type"], None, ""
    for depth, part in enumerate(path):
        if isinstance(kind, dict):
            name = part["field"]
            kind = kind[name]
            content = None if content is None else dict(content[1])[name]
            continue
        for one in elements_of(state, path[:depth], content, owner):
            if one["id"] == part["index"]:
                kind, content, owner = kind[0], one["content"], one["id"]
                break
        else:
            return None
    return kind, content, owner


# --- Faults, in the order of OP-033 ---


def fits(kind: Any, content: Any) -> bool:
    """Return True if content fits a type."""
    name, *value = content
    if isinstance(kind, dict):
        members = dict(value[0]) if name == "obj" else {}
        return name == "obj" and all(
            field in members and fits(inner, members[field]) for field, inner in kind.items()
        )
    if isinstance(kind, list):
        return name == "arr" and all(fits(kind[0], part) for part in value[0])
    return fits_bare(kind.removeprefix("="), content)


def fits_bare(kind: str, content: Any) -> bool:
    """Return True if content fits a register or a bare value."""
    name, *value = content
    if kind == "any":
        return is_json(content)
    if kind == "numbers":
        return name == "arr" and all(fits_bare("number", part) for part in value[0])
    if kind == "character":
        return name == "str" and len(value[0]) == 1
    if name == "num":
        return kind in NUMBERS and is_number(kind, number_of(value[0]))
    is_null = name == "null" and kind == "number or null"
    return is_null or name == {"text": "str", "bool": "bool"}.get(kind)


def is_number(kind: str, number: float) -> bool:
    """Return True if JSON has a number, and if it is exact where it must be an integer."""
    if kind != "integer":
        return math.isfinite(number)
    return number.is_integer() and abs(number) <= SEQUENCE_MAX


def is_json(content: Any) -> bool:
    """Return True if JSON has every number of some content."""
    name, *value = content
    if name == "num":
        return math.isfinite(number_of(value[0]))
    parts = value[0] if name == "arr" else [part for _, part in value[0]] if name == "obj" else []
    return all(is_json(part) for part in parts)


def own_fault(operation: Any) -> str:
    """Return the state of a fault that the operation alone shows, or an empty text."""
    inner = operation["inner"]
    if len(inner["path"]) > PATH_MAX or len(operation["depends_on"]) > DEPENDENCIES_MAX:
        return "Refused"
    digest = hash_of(digest_text(operation))
    if not is_signed(operation["author"], digest, operation["signed_digest"]):
        return "ErrDigestMismatch"
    if hash_of(id_text(inner)) != inner["id"] or not (inner["content"] or inner["is_deleted"]):
        return "ErrHashMismatch"
    around = [part["index"] for part in inner["path"][:-1] if "index" in part]
    if int(inner["seq"]) > SEQUENCE_MAX:
        return "Refused"
    return "" if inner["author"] in (operation["author"], *around[-1:]) else "Refused"


def path_fault(state: ModelState, operation: Any) -> str:
    """Return the state of the first fault on the path and of what is at its end, or an empty text.

    That of an element which is not there is `MISSING`.
    """
    inner = operation["inner"]
    path = inner["path"]
    kind = state["type"]
    for depth, part in enumerate(path):
        is_last = depth == len(path) - 1
        if isinstance(kind, str):
            return value_fault(kind, inner, is_end=is_last)
        if isinstance(kind, list) and is_last:
            return element_fault(state, kind[0], inner)
        fault = step_fault(state, kind, path[: depth + 1])
        if fault:
            return fault
        kind = kind[part["field"]] if isinstance(kind, dict) else kind[0]
    if isinstance(kind, dict):
        return "ErrApplyOnStruct"
    is_bare = isinstance(kind, str) and kind.startswith("=")
    return "ErrApplyOnPrimitive" if is_bare else "ErrPathMismatch"


def step_fault(state: ModelState, kind: Any, path: list[Any]) -> str:
    """Return the state if the last segment of `path` leads nowhere in a struct or list."""
    part = path[-1]
    if isinstance(kind, dict):
        return "" if part.get("field") in kind else "ErrPathMismatch"
    if "index" not in part:
        return "ErrPathMismatch"
    if part["index"] == ROOT:
        return "ErrListApplyToEmpty"
    return MISSING if find(state, path) is None else ""


def value_fault(kind: str, inner: Any, *, is_end: bool) -> str:
    """Return the state of the first fault of a write to a register or to a bare value."""
    if kind.startswith("="):
        return "ErrApplyOnPrimitive"
    if not is_end or inner["path"][-1] != {"index": inner["id"]}:
        return "ErrPathMismatch"
    is_sound = inner["is_deleted"] or fits(kind, inner["content"])
    return "" if is_sound else "ErrMismatchedType"


def element_fault(state: ModelState, kind: Any, inner: Any) -> str:
    """Return the state of the first fault of an operation on an element of a list."""
    deletes, origin = inner["is_deleted"], inner["origin"]
    if inner["path"][-1] != {"index": origin if deletes else inner["id"]}:
        return "ErrPathMismatch"
    if deletes and origin == ROOT:
        return "Refused"
    if not deletes and not fits(kind, inner["content"]):
        return "ErrMismatchedType"
    if origin != ROOT and find(state, [*inner["path"][:-1], {"index": origin}]) is None:
        return MISSING
    return ""


# --- Applying ---


def apply(state: ModelState, operation: Any) -> str:
    """Apply an operation and what it releases; return its state."""
    outcome = take(state, operation)
    is_news = outcome in NEWS
    while is_news:
        waiting, state["waiting"] = state["waiting"], []
        is_news = bool(NEWS & {take(state, one) for one in waiting})
    return outcome


def take(state: ModelState, operation: Any) -> str:
    """Apply one operation, keep it until later, or drop it; return its state."""
    outcome = own_fault(operation)
    if outcome:
        return outcome
    applied, inner = state["applied"], operation["inner"]
    name = inner["id"], inner["path"]
    copies = [one for one in applied if (one["inner"]["id"], one["inner"]["path"]) == name]
    delivered = [one["signed_digest"] for one in applied]
    if copies and operation["signed_digest"] in delivered:
        return "AlreadySeen"
    is_early = any(one not in delivered for one in operation["depends_on"])
    outcome = MISSING if is_early else path_fault(state, operation)
    largest = max((int(one["inner"]["seq"]) for one in applied), default=0)
    if not outcome and int(inner["seq"]) > largest + AHEAD_MAX:
        outcome = "Refused"
    if outcome == MISSING and operation not in state["waiting"]:
        state["waiting"].append(operation)
    if outcome:
        return outcome
    if len(copies) < COPIES_MAX:
        applied.append(operation)
    return "AlreadySeen" if copies else "Ok"


# --- Views ---


def view(state: ModelState) -> Any:
    """Return the document as content."""
    return show(state, state["type"], [], None, "")


def show(state: ModelState, kind: Any, path: list[Any], content: Any, owner: str) -> Any:
    """Return what is at `path` as content; `content` is what it began with, in `owner`."""
    if isinstance(kind, dict):
        members = dict(content[1]) if content else {}
        return [
            "obj",
            [
                [name, show(state, inner, [*path, {"field": name}], members.get(name), owner)]
                for name, inner in kind.items()
            ],
        ]
    if isinstance(kind, list):
        shown = [
            show(state, kind[0], [*path, {"index": one["id"]}], one["content"], one["id"])
            for one in in_order(elements_of(state, path, content, owner))
            if not is_deleted(state, path, one)
        ]
        return ["arr", shown]
    if kind.startswith("="):
        return content or BARE.get(kind, NULL)
    first = (0, ROOT) if not owner else (-1, owner)
    best = (*first, "", ""), content or NULL
    for operation in state["applied"]:
        inner = operation["inner"]
        if inner["path"][:-1] == path:
            is_own = inner["author"] == operation["author"]
            last = inner["id"] if is_own else operation["signed_digest"]
            rank = (-int(inner["seq"]), inner["author"], operation["author"], last)
            best = min(best, (rank, NULL if inner["is_deleted"] else inner["content"]))
    return best[1]


def in_order(elements: list[Any], origin: str = ROOT) -> Iterator[Any]:
    """Yield elements depth first, of siblings the largest first."""
    children = [one for one in elements if one["origin"] == origin]
    children.sort(key=lambda one: (int(one["seq"]), one["author"], one["id"]), reverse=True)
    for one in children:
        yield one
        yield from in_order(elements, one["id"])


def is_deleted(state: ModelState, path: list[Any], element: Any) -> bool:
    """Return True if an element of the list at `path` is deleted."""
    target = [*path, {"index": element["id"]}]
    return any(
        one["inner"]["is_deleted"] and one["inner"]["path"] == target for one in state["applied"]
    )


def lists(state: ModelState) -> dict[str, Any]:
    """Return the elements of each list at the top, as the recordings have them."""
    found = {}
    for name, kind in state["type"].items():
        if isinstance(kind, list):
            path = [{"field": name}]
            rows = [
                [one["id"], is_deleted(state, path, one), True]
                for one in in_order(elements_of(state, path, None, ""))
            ]
            found[name] = [[ROOT, False, False], *rows]
    return found
