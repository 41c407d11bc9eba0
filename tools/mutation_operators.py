"""Mutants that no human chose: every application of the operators of Cosmic Ray to a source.

The only module that imports `cosmic_ray`, which parses with `parso`; it takes and returns texts.
What no peer can observe is left out: annotations, type aliases, docstrings, `__all__`, and the
texts of errors and log lines.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider

WITHOUT_EFFECT: Final = frozenset({"NoOp"})
"""Operators that leave the source unchanged."""
LOG_CONTENT: Final = frozenset({"NotSent", "Notify", "Refusal", "RunOver", "Skipped"})
"""Classes whose values are the content of log lines."""
TEXT_METHODS: Final = frozenset({"__repr__", "__str__"})
Position = tuple[int, int]
"""A line, from 1, and a column in characters, from 0."""


@dataclass(frozen=True, slots=True)
class Site:
    """One mutant of a source: the operator, the number of its application, and the place."""

    operator: str
    occurrence: int
    start: Position
    end: Position


def sites(source: str) -> Iterator[Site]:
    """Yield every mutant of a source that a peer could observe, operator by operator."""
    hidden = tuple(hidden_spans(source))
    nodes = list(ast_nodes(get_ast(source)))
    for name, operator in operators():
        occurrence = 0
        for node in nodes:
            for start, end in operator.mutation_positions(node):
                site = Site(name, occurrence, start, end)
                occurrence += 1
                if not any(first <= start < last for first, last in hidden):
                    yield site


def mutated(source: str, site: Site) -> str | None:
    """Return the source with one mutant made, or None if nothing valid or nothing new results."""
    text = mutate_code(source, dict(operators())[site.operator], site.occurrence)
    if text is None:
        return None
    try:
        with warnings.catch_warnings():
            # Such as the one about `is` with a literal.
            warnings.simplefilter("ignore", SyntaxWarning)
            made = ast.parse(text)
    except SyntaxError:
        return None
    return None if ast.dump(made) == ast.dump(ast.parse(source)) else str(text)


def operators() -> Iterator[tuple[str, Any]]:
    """Yield each operator that needs no arguments by its name, in the order of the names."""
    provider = OperatorProvider()
    for name in sorted(set(provider) - WITHOUT_EFFECT):
        if not list(provider[name].arguments()):
            yield name, provider[name]()


# --- What no peer can observe ------------------------------------------------------------------


def hidden_spans(source: str) -> Iterator[tuple[Position, Position]]:
    """Yield begin and end of each part of a source whose mutants are left out."""
    lines = source.splitlines()
    for node in _hidden_nodes(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = (node.lineno, _column(lines[node.lineno - 1], node.col_offset))
        yield start, (node.end_lineno, _column(lines[node.end_lineno - 1], node.end_col_offset))


def _column(line: str, offset: int) -> int:
    """Return the column in characters of an offset in bytes of UTF-8."""
    return len(line.encode()[:offset].decode())


def _hidden_nodes(tree: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from [] if node.returns is None else [node.returns]
            yield from node.body if node.name in TEXT_METHODS else []
        elif isinstance(node, ast.arg):
            yield from [] if node.annotation is None else [node.annotation]
        elif isinstance(node, ast.Raise | ast.Assert):
            yield from _texts(node)
        elif (hidden := _hidden_part(node)) is not None:
            yield hidden
        if isinstance(node, ast.AnnAssign):
            yield node.annotation


def _hidden_part(node: ast.AST) -> ast.expr | None:
    """Return the part that is hidden of a type alias, a docstring, or the content of a log line."""
    if isinstance(node, ast.AnnAssign):
        return node.value if ast.unparse(node.annotation).endswith("TypeAlias") else None
    if isinstance(node, ast.Assign):
        return node.value if _is_of_types(node) else None
    if isinstance(node, ast.Expr):
        return node.value if isinstance(node.value, ast.Constant | ast.JoinedStr) else None
    if isinstance(node, ast.Call):
        return node if _name_of(node.func) in LOG_CONTENT else None
    return None


def _is_of_types(node: ast.Assign) -> bool:
    """Return True for an assignment to `__all__`, or of a union of types to a name in CamelCase."""
    names = [_name_of(target) for target in node.targets]
    is_union = isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr)
    is_camel_case = names[0][:1].isupper() and not names[0].isupper()
    return names == ["__all__"] or (is_union and is_camel_case)


def _name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _texts(node: ast.stmt) -> Iterator[ast.expr]:
    """Yield the sentences in a statement: texts with a blank, and texts with values in them."""
    for part in ast.walk(node):
        is_sentence = isinstance(part, ast.Constant) and " " in str(part.value)
        if isinstance(part, ast.JoinedStr) or is_sentence:
            assert isinstance(part, ast.expr)
            yield part
