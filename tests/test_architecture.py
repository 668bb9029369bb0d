"""The house's rules, kept by looking at the code: who may name whom, who may import whom, and what an import costs."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from source_tree import (
    COMMON,
    ENGINES,
    OPERATIONS,
    PACKAGES,
    ROOT,
    WORKERS,
    Import,
    defining_module,
    imports,
    is_face,
    module_name,
    modules,
    parsed,
    sources,
)

ENGINE_NAMES = re.compile(
    r"(?<!worker-)vllm|fast_?deploy|llama[._]?cpp|llama-server|paddle|sglang|ollama|engineroom_echo", re.IGNORECASE
)
"""`worker-vllm` is no engine: it is the worker whose jobs the queue's door can take, as a setting of the door says."""
HEAVY = {
    "torch",
    "runpod",
    "vllm",
    "paddle",
    "fastdeploy",
    "xllamacpp",
    "transformers",
    "openai",
    "huggingface_hub",
    "openvino",
    "openvino_genai",
    "sglang",
}
TABLE = Path(__file__).with_name("architecture.md")
EVERYWHERE = {"msgspec", "pydantic", "typing_extensions"} | set(sys.stdlib_module_names)


@dataclass(frozen=True)
class Row:
    """One row of the table: what the files at `path` may import."""

    path: Path
    label: str
    parts: frozenset[Path]
    """The paths of the rows that it lists."""

    libraries: frozenset[str]


@cache
def table() -> tuple[Row, ...]:
    """The rows of architecture.md, as they stand there: from the lowest to the highest."""
    rows: list[Row] = []
    titles: list[str] = []
    base = ROOT
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            base = ROOT / line.removeprefix("## ")
        if not line.startswith("|") or line.startswith("|---"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "part":
            titles = cells
            continue
        columns = {
            title: {word for word in cell.split(", ") if word != "nothing"}
            for title, cell in zip(titles, cells, strict=True)
        }
        label = cells[0].strip("`")
        listed = [_listed(COMMON, name, label, rows) for name in columns["of the core"]]
        listed += [_listed(WORKERS, name, label, rows) for name in columns.get("of the doors", ())]
        listed += [_listed(OPERATIONS, name, label, rows) for name in columns.get("of operations", ())]
        rows.append(Row(base / label, label, frozenset(listed), frozenset(columns["libraries"])))
    return tuple(rows)


def _listed(base: Path, name: str, label: str, above: list[Row]) -> Path:
    """The path of a row that another one lists, which must stand above it."""
    paths = {row.path for row in above} & {base / name, base / f"{name}.py"}
    assert paths, f"{TABLE.name}: `{label}` lists {name}, but no row of that name stands above it"
    return paths.pop()


def _label(path: Path) -> str:
    """What the row of a path is called in the table."""
    return next(row.label for row in table() if row.path == path)


@cache
def row_of(file: Path) -> Row:
    """The row that a file belongs to: the one with the longest path."""
    rows = {row.path: row for row in table()}
    place = next((path for path in (file, *file.parents) if path in rows), None)
    assert place, f"{file.relative_to(ROOT)} has no row in {TABLE.name}: add one that says what it may import"
    return rows[place]


def explained(breaches: list[str], remedy: str) -> str:
    """What a failed test says: each line that broke a rule, and what to do about them."""
    return "\n".join(["", *breaches, remedy])


def own_imports(file: Path) -> list[tuple[Import, str]]:
    """What a file imports of our distributions, each with the module that defines it, past all faces."""
    pairs = [(line, defining_module(line.module, line.name)) for line in imports(file)]
    return [(line, module) for line, module in pairs if module and module != module_name(file)]


@pytest.mark.parametrize("file", sources(COMMON, WORKERS, OPERATIONS), ids=lambda file: module_name(file))
def test_no_engine_is_named_outside_its_folder(file: Path) -> None:
    named = [line for line in file.read_text(encoding="utf-8").splitlines() if ENGINE_NAMES.search(line)]
    assert not named


def test_files_import_what_their_row_lists() -> None:
    breaches = [
        f"{line} imports {module}: the row `{row.label}` does not list `{other.label}`"
        for file in sources(*PACKAGES.values())
        for row in [row_of(file)]
        for line, module in own_imports(file)
        for other in [row_of(modules()[module])]
        if other is not row and other.path not in row.parts
    ]
    assert not breaches, explained(
        breaches,
        "Move the code to where both may import it, or hand it over as an argument; where the new direction is meant, "
        f"add it to the row of tests/{TABLE.name} (a row lists only rows above it).",
    )


def test_files_import_the_libraries_of_their_row() -> None:
    breaches = [
        f"{line} imports {line.package}: the row `{row.label}` does not list it"
        for file in sources(*PACKAGES.values())
        for row in [row_of(file)]
        for line in imports(file)
        if line.package not in EVERYWHERE | row.libraries | set(PACKAGES)
    ]
    assert not breaches, explained(
        breaches,
        f"Use what the row has, or add the library to that row of tests/{TABLE.name} and to the pyproject.toml.",
    )


def test_rows_list_nothing_that_they_do_not_import() -> None:
    parts: dict[Row, set[Path]] = {row: set() for row in table()}
    libraries: dict[Row, set[str]] = {row: set() for row in table()}
    for file in sources(*PACKAGES.values()):
        row = row_of(file)
        parts[row] |= {row_of(modules()[module]).path for _, module in own_imports(file)}
        libraries[row] |= {line.package for line in imports(file)}
    unused = [
        f"`{row.label}`: {', '.join(sorted([*map(_label, row.parts - parts[row]), *(row.libraries - libraries[row])]))}"
        for row in table()
        if row.parts - parts[row] or row.libraries - libraries[row]
    ]
    assert not unused, explained(
        unused, f"Take it out of the row of tests/{TABLE.name}: the table is what a reader sees."
    )


def test_no_circle_of_files() -> None:
    graph = {name: {module for _, module in own_imports(file)} for name, file in modules().items()}
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = path[path.index(name) :]
            pytest.fail(
                f"{' -> '.join([*circle, name])} is a circle (imports inside functions and under TYPE_CHECKING count). "
                "Move what both need into a file below them, or hand it over as an argument."
            )
        if name in finished:
            return
        for other in sorted(graph[name]):
            visit(other, (*path, name))
        finished.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_faces_are_for_other_distributions() -> None:
    breaches: list[str] = []
    for file in sources(*PACKAGES.values()):
        for line, module in own_imports(file):
            if file.name == "__init__.py":
                continue
            if module_name(file).partition(".")[0] == line.package:
                if is_face(line.module) and module not in (line.module, f"{line.module}.{line.name}"):
                    breaches.append(f"{line} imports {line.name} through the face {line.module} and not from {module}")
            elif is_face(line.module):
                if line.name not in (public_names(line.module) or {line.name}):
                    breaches.append(f"{line} imports {line.name}, which is not in the __all__ of {line.module}")
            elif public_names(package := module.rpartition(".")[0]):
                breaches.append(f"{line} imports {line.name} from {module}, past the face {package}")
    assert not breaches, explained(
        breaches,
        "Inside a distribution the file that defines a name is imported, relatively; from outside its package's face, "
        "whose __all__ has what others may use.",
    )


def public_names(package: str) -> set[str]:
    """What a package's face has in its `__all__`; nothing for one whose modules others import by name."""
    names: set[str] = set()
    if package in modules():
        for statement in parsed(modules()[package]).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
                names.update(ast.literal_eval(statement.value))
    return names


def test_every_row_is_of_a_file_or_folder() -> None:
    gone = [row.label for row in table() if not row.path.exists()]
    assert not gone, f"rows of tests/{TABLE.name} without a file or folder: {gone}"
    files = sources(*PACKAGES.values())
    used = {row_of(file) for file in files}
    assert set(table()) == used, f"rows that no file belongs to: {[row.label for row in set(table()) - used]}"


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are there after `code`, and were not before, in a fresh interpreter."""
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return {name.partition(".")[0] for name in result.stdout.split()}


def test_importing_engineroom_loads_nothing_else() -> None:
    assert loaded_by("import engineroom") == {"engineroom"}


def test_the_command_line_reads_no_settings_before_a_command_does() -> None:
    """A shell waits for it whenever somebody presses the tabulator; models of settings would take most of that."""
    loaded = loaded_by("import engineroom.commands.command_line")
    assert "click" in loaded
    assert not loaded & {"pydantic", "pydantic_settings", "msgspec", "asyncio"}


def test_the_core_and_configured_engines_load_nothing_heavy() -> None:
    core = [
        info.name for info in pkgutil.walk_packages([str(COMMON)], "engineroom.") if not info.name.endswith("__main__")
    ]
    assert "engineroom.server.engine" in core
    code = "import " + ", ".join(core) + "\nimport " + ", ".join(folder.name for folder in ENGINES)
    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize("group", ["engineroom.engines", "engineroom.commands", "engineroom.door_settings"])
def test_every_entry_point_loads(group: str) -> None:
    points = entry_points(group=group)
    assert points
    for point in points:
        assert point.load() is not None, point


def test_every_engine_folder_is_a_registered_engine() -> None:
    from engineroom import plugins

    assert set(plugins.engine_names()) >= {folder.parent.name for folder in ENGINES}
    for folder in ENGINES:
        engine = plugins.load_engine(folder.parent.name)
        assert engine.name == folder.parent.name
        assert engine.summary, f"{engine.name} says nothing of itself in `engineroom engines`"
        assert importlib.import_module(folder.name).__doc__
