"""Names in the sources: the field's words, one class for one name, lists written as lists."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from source_tree import PACKAGES, ROOT, nodes, sources

FORBIDDEN = {"told", "found", "said", "came", "most", "below"}
"""Words that say that something happened, or how much of it, but not what the value is."""


def every_source() -> list[Path]:
    """All Python of the distributions and of the tools and benchmarks beside them, without tests."""
    return sources(*PACKAGES.values(), *ROOT.glob("engines/*/tools"), ROOT / "tools", ROOT / "benchmarks")


def identifiers(node: ast.AST) -> Iterator[str]:
    """The names that one node brings in or uses: variables, parameters, attributes, keywords, functions, classes."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, (ast.arg, ast.keyword)):
        yield node.arg or ""
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.rpartition(".")[2]
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        yield node.name or ""


def test_names_are_the_fields_own() -> None:
    breaches = {
        f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {name}"
        for file in [*every_source(), *sources(ROOT / "tests")]
        for node in nodes(file)
        for name in identifiers(node)
        if name.strip("_").lower() in FORBIDDEN
    }
    modules = {str(file.relative_to(ROOT)) for file in every_source() if file.stem in FORBIDDEN}
    breaches |= modules
    assert not breaches, "\n".join(["", *sorted(breaches), "Name what the value is: stop_requested, matches, limit …"])


def test_a_class_name_has_one_meaning() -> None:
    places = defaultdict(list)
    for file in every_source():
        for node in nodes(file):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{file.relative_to(ROOT)}:{node.lineno}")
    shared = {name: where for name, where in places.items() if len(where) > 1}
    assert not shared, "\n".join(
        ["", *(f"{name}: {', '.join(where)}" for name, where in sorted(shared.items())), "Name each by what it is."]
    )


def test_a_list_of_words_is_written_as_one() -> None:
    splits = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in every_source()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if "SIM905" in line
    ]
    assert not splits, "\n".join(["", *splits, "Write the words as a list, tuple or set, one string each."])


def _saves_a_line(node: ast.AST) -> bool:
    """Whether a tuple is written only to assign several names at once; a swap or the like reads a target, too."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return False
    targets = [ast.unparse(name) for target in node.targets if isinstance(target, ast.Tuple) for name in target.elts]
    read = {ast.unparse(part) for part in ast.walk(node.value) if isinstance(part, (ast.Name, ast.Attribute))}
    return bool(targets) and not read & set(targets)


def _riddle(node: ast.AST) -> str:
    """What makes a reader stop in a statement, or nothing."""
    if _saves_a_line(node):
        return "assigns a tuple to save a line"
    if isinstance(node, ast.IfExp) and isinstance(node.orelse, ast.IfExp):
        return "has a conditional expression inside another"
    hidden = (ast.JoinedStr, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    if isinstance(node, hidden) and any(isinstance(part, ast.NamedExpr) for part in ast.walk(node)):
        return "assigns inside a comprehension or a text"
    return ""


def test_a_statement_is_no_riddle() -> None:
    files = sources(*PACKAGES.values())
    riddles = [
        f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {_riddle(node)}"
        for file in files
        for node in nodes(file)
        if _riddle(node)
    ]
    assert not riddles, "\n".join(["", *riddles, "There is no limit on lines: write one thing a line."])
