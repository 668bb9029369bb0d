"""The programs in benchmarks/, which nothing else runs every day: that what they import is there, and their load."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
from source_tree import ROOT
from standin_chat import StandinChat, StandinExchange, paced

from engineroom_operations.load import RequestFailure

BENCHMARKS = ROOT / "benchmarks"
ELSEWHERE = ("bare.py", "bare_llamacpp.py", "source_engine.py")
"""Programs that run in environments of their own, or with packages that a test may not have."""
PROGRAMS = sorted(file for file in BENCHMARKS.rglob("*.py") if file.name not in ("__init__.py", *ELSEWHERE))


def _names(file: Path) -> set[str]:
    """What a module defines or imports at its top."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
    return names


def _beside(module: str, folder: Path) -> Path | None:
    """The file of a module that a program has from a folder of benchmarks/, or from tests/support."""
    name = f"{module.removeprefix('support.')}.py"
    # In the order of their paths: benchmarks/siege has the bench.py of limits.
    others = (BENCHMARKS / "support", ROOT / "tests" / "support", BENCHMARKS / "limits", BENCHMARKS / "runpod")
    return next((place / name for place in (folder, *others) if (place / name).exists()), None)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda file: str(file.relative_to(BENCHMARKS)))
def test_what_a_program_imports_is_there(program: Path) -> None:
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.module in (None, "__future__"):
            continue
        module = str(node.module)
        wanted = {alias.name for alias in node.names}
        file = _beside(module, program.parent)
        if file is not None:
            assert wanted <= _names(file), (file, wanted - _names(file))
        elif module.startswith("engineroom"):
            assert wanted <= set(dir(importlib.import_module(module))), module


async def test_a_round_counts_what_the_server_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS / "support"))
    rounds = importlib.import_module("rounds")
    async with StandinChat(paced(0.01, 0, tokens=7)) as standin:
        server = rounds.ChatServer(standin.port)
        first = await server.round([{"model": "m", "messages": []}] * 3)
        assert (first.tokens, len(first.first), standin.at_once, standin.connections) == (21, 3, 3, 3)
        assert min(first.first) >= 0.01
        standin.drop_connections()
        assert (await server.round([{"model": "m", "messages": []}])).tokens == 7

        async def refuse(exchange: StandinExchange) -> None:
            await exchange.reply(503, {"error": {"message": "full"}})

        standin.handle = refuse
        with pytest.raises(RequestFailure, match="full"):
            await server.round([{"model": "m", "messages": []}])
        server.close()


async def test_what_streams_by_itself_answers_what_the_hop_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("support", "http"):
        monkeypatch.syspath_prepend(str(BENCHMARKS / folder))
    hop, proxies, servers = (importlib.import_module(name) for name in ("hop", "proxies", "servers"))
    with servers.server("ours") as ours, proxies.source() as port:
        source = proxies.MeasuredProxy(proxies.ChatServer(port), None)
        for target in (source, ours):
            assert (await hop.stream(target, 2, 3)).tokens == 6
            assert (await hop.stream(target, 2, 3, rate=200)).tokens == 6
            target.server.close()


def test_one_request_from_a_thread_without_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS / "support"))
    posted = importlib.import_module("posting").post("http://127.0.0.1:1/v1", b"{}", 5)
    assert (posted.status, posted.text) == (0, "Connection refused")


@pytest.mark.parametrize("engine", ["llamacpp", "vllm", "transformers"])
def test_what_is_asked_for_at_the_limits_is_within_them(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("limits_bench", BENCHMARKS / "limits" / "bench.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, bench)
    spec.loader.exec_module(bench)
    limits = bench.default_limits(engine)
    names = [question.name for question in bench.questions(engine, limits, "")]
    assert names.index("all") > 10


@pytest.mark.parametrize(
    ("text", "error", "silent"),
    [
        ('data: {"choices":[{"finish_reason":"length"}]}\n\ndata: [DONE]\n\n', "", False),
        ('data: {"choices":[]}\n\n', "it ends before its end, as if it were whole", True),
        ('data: {"choices":[]}\n\ndata: [DONE]\n\n', "it ends before its end, as if it were whole", True),
        ('data: {"choices":[]}\n\ndata: {"error":{"message":"gone"}}\n\n', "event: gone", False),
    ],
)
def test_a_rollout_tells_a_whole_stream_from_one_that_only_ends(
    text: str, error: str, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS / "rollout"))
    assert importlib.import_module("rollout_clients").check_stream(text) == (error, silent)


def test_a_rollout_forgives_only_what_a_killed_worker_had(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("support", "rollout"):
        monkeypatch.syspath_prepend(str(BENCHMARKS / folder))
    specification = importlib.util.spec_from_file_location("rollout_bench", BENCHMARKS / "rollout" / "bench.py")
    assert specification is not None
    assert specification.loader is not None
    bench = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(bench)
    outcome = importlib.import_module("rollout_clients").RequestOutcome
    kill = importlib.import_module("cluster").WorkerKill("127.0.0.1:1", began=5.0, ended=5.2)

    def broken(began: float, ended: float, worker: str, silent: bool = False) -> bool:
        part = bench.RolloutPart("killed", 4, retries=True, kills=1)
        failed = outcome("Envoy", True, began, ended, worker, "cut off", silent)
        return bool(bench.RolloutFigures(part, [failed], [kill], {}, [], 0, [], 1.0).broken)

    assert not broken(4.0, 6.0, kill.address)
    assert not broken(5.1, 5.2, kill.address)
    assert broken(4.0, 6.0, "127.0.0.1:2")
    assert broken(5.5, 6.0, kill.address), "it came when the worker was dead already"
    assert broken(4.0, 6.0, "")
    assert broken(4.0, 6.0, kill.address, silent=True)
