"""The repository's own sources as the tests of its rules see them: files, modules, and every import with its line."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COMMON = ROOT / "common" / "engineroom"
WORKERS = ROOT / "workers" / "engineroom_workers"
OPERATIONS = ROOT / "operations" / "engineroom_operations"
ENGINES = sorted(ROOT.glob("engines/*/engineroom_*"))
PACKAGES = {folder.name: folder for folder in (COMMON, WORKERS, OPERATIONS, *ENGINES)}


class Import(NamedTuple):
    """One name that a file imports: `from module import name`, or `import module` where `name` is empty."""

    file: Path
    line: int
    module: str
    name: str

    @property
    def package(self) -> str:
        """The top-level package that the import names."""
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def sources(*folders: Path) -> list[Path]:
    """Every Python file in the folders, which must exist."""
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    assert files, f"no Python file in {folders}"
    return files


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def nodes(file: Path) -> Sequence[ast.AST]:
    """All parts of a file, the whole first."""
    return tuple(ast.walk(parsed(file)))


@cache
def modules() -> dict[str, Path]:
    """Every module of our distributions by its dotted name; a package's is that of its `__init__.py`."""
    return {module_name(file): file for file in sources(*PACKAGES.values())}


@cache
def module_name(file: Path) -> str:
    folder = next(folder for folder in PACKAGES.values() if folder in file.parents)
    parts = (folder.name, *file.relative_to(folder).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


@cache
def imports(file: Path) -> tuple[Import, ...]:
    """All that a file imports: at its top, inside functions, under TYPE_CHECKING, and by `import_module("…")`."""
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[Import]:
    name = module_name(file)
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes(file):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, "")
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(package, node.level, node.module or "")
            for alias in node.names:
                yield Import(file, node.lineno, module, alias.name)
        elif isinstance(node, ast.Call) and _called(node) == "import_module" and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                relative = argument.value.lstrip(".")
                yield Import(file, node.lineno, _absolute(package, len(argument.value) - len(relative), relative), "")


def _absolute(package: str, level: int, module: str) -> str:
    """The module's full name, where `level` counts the leading dots that stood before it in `package`."""
    if not level:
        return module
    parents = package.split(".")
    base = parents[: len(parents) - level + 1]
    return ".".join([*base, module] if module else base)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def defining_module(module: str, name: str) -> str:
    """The module that a name comes from, past every face that only hands it on; "" for a module that is not ours."""
    known = modules()
    if f"{module}.{name}" in known:
        return f"{module}.{name}"
    if module not in known:
        return ""
    if name and is_face(module):
        for handed_on in imports(known[module]):
            if handed_on.name == name:
                return defining_module(handed_on.module, name) or module
    return module


def is_face(module: str) -> bool:
    return modules()[module].name == "__init__.py"
