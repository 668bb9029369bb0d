"""The house's rules, kept by looking at the code: who may name whom, who may import whom, and what an import costs."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMON, WORKERS = ROOT / "common" / "engineroom", ROOT / "workers" / "engineroom_workers"
ENGINES = sorted(ROOT.glob("engines/*/engineroom_*"))
ENGINE_NAMES = re.compile(
    r"vllm|fast_?deploy|llama[._]?cpp|llama-server|paddle|sglang|ollama|engineroom_echo", re.IGNORECASE
)
HEAVY = {"torch", "runpod", "vllm", "paddle", "fastdeploy", "xllamacpp", "transformers", "openai", "huggingface_hub"}


def sources(*folders: Path) -> list[Path]:
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    assert files
    return files


def imports(file: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """The modules a file imports, absolute; optionally only what is imported when it is."""
    package = ".".join(file.parent.parts[file.parent.parts.index(_top(file), len(ROOT.parts)) :])

    def walk(nodes: list[ast.stmt]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if not top_level_only:
                    yield from walk(node.body)
            else:
                for child in ("body", "orelse", "finalbody"):
                    yield from walk(getattr(node, child, []) or [])
                for handler in getattr(node, "handlers", []):
                    yield from walk(handler.body)

    yield from walk(ast.parse(file.read_text(encoding="utf-8")).body)


def _top(file: Path) -> str:
    """The name of the top-level package a file is in."""
    relative = file.relative_to(ROOT).parts
    return relative[2] if relative[0] == "engines" else relative[1]


def module_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    name = ".".join(parts[parts.index(_top(file), len(ROOT.parts)) :])
    return name.removesuffix(".__init__")


@pytest.mark.parametrize("file", sources(COMMON, WORKERS), ids=lambda file: module_name(file))
def test_no_engine_is_named_outside_its_folder(file: Path) -> None:
    named = [line for line in file.read_text(encoding="utf-8").splitlines() if ENGINE_NAMES.search(line)]
    assert not named


def test_no_engine_imports_a_door_and_no_door_an_engine() -> None:
    for file in sources(*ENGINES):
        assert not [name for name in imports(file) if name.startswith("engineroom_workers")], file
    packages = {folder.name for folder in ENGINES}
    for file in sources(COMMON, WORKERS):
        assert not [name for name in imports(file) if name.partition(".")[0] in packages], file


def test_common_imports_no_door() -> None:
    for file in sources(COMMON):
        assert not [name for name in imports(file) if name.startswith("engineroom_workers")], file


def test_imports_go_one_way() -> None:
    files = {module_name(file): file for file in sources(COMMON, WORKERS, *ENGINES)}
    graph = {
        name: {found for found in imports(file, top_level_only=True) if found in files and found != name}
        for name, file in files.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done:
            return
        for other in graph[name]:
            # A package's __init__ may gather its own modules' names.
            if not name.startswith(f"{other}."):
                visit(other, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are there after `code`, and were not before, in a fresh interpreter."""
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return {name.partition(".")[0] for name in result.stdout.split()}


def test_importing_engineroom_loads_nothing_else() -> None:
    assert loaded_by("import engineroom") == {"engineroom"}


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
