"""`make bench-limits`: how long others wait for one request as large as an engine's limits allow, or four times that.

Each kind of request is sent to a worker of which nothing is limited. Meanwhile a neighbour asks for eight tokens, again
and again; what counts is how much longer its slowest answer took than without the large request. Then the large
request's client leaves after half a second, and the neighbour asks again. The same for a request that is near all
limits at once, and for ordinary ones, all of which must be within the default limits. Requests beyond the limits come
last, as far as there is time for them: an engine has `--minutes`. Writes benchmarks/limits/results.md, each engine's
own columns.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from ordinary_requests import ORDINARY
from posting import Posted, post
from processes import ENGINEROOM, Others, free_port, machine, running, until
from shapes import SHAPES, all_at_once, chat

from engineroom.openai.limits import RequestLimits, check_fields
from engineroom.settings import Environment, WorkerSettings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODEL = str(ROOT / ".build" / "SmolLM2-135M-Instruct")
TEMPLATE = HERE / "first_tool.jinja"
"""One that names the first tool alone: the time that it takes to read of many is that of a long prompt."""
RESULTS = HERE / "results.json"
GIVEN_UP_S = 20
BACK_S = 60
FACTORS = (1, 4)
NEIGHBOUR = json.dumps({**chat(), "max_tokens": 8}).encode()


def engine_settings(name: str) -> tuple[str, dict[str, str]]:
    """The command and settings that start an engine with the small model."""
    common = {"ENGINE": name, "LOG_LEVEL": "WARNING", "HF_HUB_OFFLINE": "1", "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "m"}
    if name == "llamacpp":
        return ENGINEROOM, {**common, "THREADS": "1", "CHAT_TEMPLATE_FILE": str(TEMPLATE)}
    if name == "vllm":
        settings = {"VLLM_PYTHON": str(ROOT / ".venv-vllm/bin/python"), "ENFORCE_EAGER": "true", "DTYPE": "bfloat16"}
        settings |= {"MAX_MODEL_LEN": "2048", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        settings |= {"ENABLE_AUTO_TOOL_CHOICE": "true", "TOOL_CALL_PARSER": "hermes"}
        settings |= {"CHAT_TEMPLATE": str(TEMPLATE)}
        return ENGINEROOM, {**common, **settings, "MODEL_NAME": MODEL}
    sources = [str(ROOT / part) for part in ("common", "workers", "engines/transformers", "engines/echo")]
    settings = {"MODEL_NAME": MODEL, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sources)}
    settings |= {"CHAT_TEMPLATE": str(TEMPLATE)}
    return str(ROOT / ".venv-transformers/bin/engineroom"), {**common, **settings}


def default_limits(name: str) -> dict[str, int]:
    """An engine's own defaults."""
    from engineroom.plugins import load_engine

    env = Environment.of({}).with_defaults(load_engine(name).defaults)
    return RequestLimits.of(WorkerSettings.load(env))._asdict()


class Worker:
    """A worker that is started anew when it no longer answers."""

    def __init__(self, engine: str, limits: Mapping[str, str]) -> None:
        self._command, settings = engine_settings(engine)
        self._settings = {**settings, **limits}
        self._child: Any = None

    def __enter__(self) -> Worker:
        self.port = free_port()
        self._running = running(
            [self._command, "serve"],
            {**self._settings, "PORT": str(self.port), "STOP_TIMEOUT": "1"},
            Path("/tmp/limits.log"),
        )
        child = self._running.__enter__()
        until(f"http://127.0.0.1:{self.port}/ping", seconds=600, child=child, log=Path("/tmp/limits.log"))
        self.post(NEIGHBOUR, 120)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.__exit__(None, None, None)

    def post(self, body: bytes, seconds: float) -> Posted:
        """Status, or 0 where there is none in time, the seconds it took, and what was answered."""
        return post(f"http://127.0.0.1:{self.port}/v1/chat/completions", body, seconds)

    def delay(self, body: bytes) -> dict[str, Any]:
        """How much longer a neighbour waits beside the request, and after its client has left."""
        alone = statistics.median(self.post(NEIGHBOUR, 60)[1] for _ in range(3))
        answers: list[Posted] = []
        thread = threading.Thread(target=lambda: answers.append(self.post(body, GIVEN_UP_S)), daemon=True)
        thread.start()
        time.sleep(0.03)
        waits = [0.0]
        while thread.is_alive() and waits[-1] < GIVEN_UP_S:
            waits.append(self.post(NEIGHBOUR, GIVEN_UP_S)[1])
        thread.join(GIVEN_UP_S + 5)
        status, took, text = answers[0]
        beside = max(max(waits) - alone, 0.0)
        after = beside
        if status == 200 and took > 1 and beside < GIVEN_UP_S / 2:
            self.post(body, 0.5)
            after = max(self.post(NEIGHBOUR, GIVEN_UP_S)[1] - alone, 0.0)
        why = "" if status == 200 else text[:200]
        return {"status": status, "beside": round(beside, 2), "after": round(after, 2), "why": why}

    def dead(self) -> bool:
        """Whether it does not come back for a while; that is sooner than a new one is there."""
        return self.post(NEIGHBOUR, BACK_S)[0] != 200


class Question(NamedTuple):
    """One large request.

    group: what it is among: `rows`, `all` or `ordinary`.
    """

    group: str
    name: str
    body: Mapping[str, Any]


def questions(engine: str, limits: Mapping[str, int], only: str) -> list[Question]:
    """What an engine is asked, the most important first.

    Raises:
        APIError: what has to pass is beyond a default limit.
    """
    wanted = re.compile(only)
    shapes = [shape for shape in SHAPES if engine in shape.engines and wanted.search(f"{shape.name} {shape.setting}")]
    asked = {
        factor: [
            Question("rows", f"{shape.name} x{factor}", shape.make(limits[shape.setting] * shape.unit * factor))
            for shape in shapes
        ]
        for factor in FACTORS
    }
    passing = [Question("all", "all", all_at_once(limits, engine))]
    passing += [Question("ordinary", name, chat(**fields)) for name, fields in ORDINARY.items()]
    for question in passing:
        check_fields("/v1/chat/completions", question.body, RequestLimits(**limits))
    return [*asked[1], *passing, *asked[4]]


def measure(engine: str, only: str, minutes: float) -> dict[str, Any]:
    """All delays of an engine, as far as there is time."""
    deadline = time.monotonic() + 60 * minutes
    limits = default_limits(engine)
    unlimited = {name.upper(): "0" for name in limits}
    delays: dict[str, dict[str, Any]] = {"rows": {}, "all": {}, "ordinary": {}}
    waiting = questions(engine, limits, only)
    while waiting and time.monotonic() < deadline:
        with Worker(engine, unlimited) as worker:
            while waiting and time.monotonic() < deadline:
                question = waiting.pop(0)
                result = worker.delay(json.dumps(question.body).encode())
                delays[question.group][question.name] = result
                left = max(0, deadline - time.monotonic())
                print(f"{engine:12} {left:4.0f} s left  {question.name:52} {result}", flush=True)
                if worker.dead():
                    break
    if waiting:
        print(f"{engine:12} no time for {len(waiting)} requests, {waiting[0].name} the first of them", flush=True)
    return {"limits": limits, "rows": delays["rows"], **delays["all"], "ordinary": delays["ordinary"]}


def seconds(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return ""
    if result["status"] not in (0, 200):
        return "refused"
    worst = max(result["beside"], result["after"])
    return f"> {GIVEN_UP_S / 2:g}" if worst > GIVEN_UP_S / 2 else f"{worst:.1f}"


def table(results: Mapping[str, Any]) -> str:
    engines = [name for name in ("llamacpp", "vllm", "transformers") if name in results]
    heads = [f"{name} {what}" for name in engines for what in ("limit", "at it", "at 4 times")]
    lines = [f"| one request with | setting | {' | '.join(heads)} |", "|---|---|" + "--:|" * len(heads)]
    for shape in SHAPES:
        cells = [f"`{shape.setting.upper()}`"]
        for name in engines:
            rows = results[name]["rows"]
            cells.append(str(results[name]["limits"][shape.setting]))
            cells += [seconds(rows.get(f"{shape.name} x{factor}")) for factor in FACTORS]
        lines.append(f"| {shape.name} | {' | '.join(cells)} |")
    together = " | ".join(f"| {seconds(results[name].get('all'))} | " for name in engines)
    lines.append(f"| near all limits at once | | {together} |")
    return "\n".join(lines)


def ordinary_table(results: Mapping[str, Any]) -> str:
    engines = [name for name in ("llamacpp", "vllm", "transformers") if "ordinary" in results.get(name, ())]
    lines = [f"| what is asked for | {' | '.join(engines)} |", "|---|" + "--:|" * len(engines)]
    for asked in ORDINARY:
        cells = [seconds(results[name]["ordinary"].get(asked)) for name in engines]
        lines.append(f"| {asked} | {' | '.join(cells)} |")
    return "\n".join(lines)


def other_programs(share: float | None) -> str:
    if share is None:
        return "; how much of the machine other programs used was not measured, and it was not idle"
    return f"; other programs used {share:.0%} of the machine"


def write(results: Mapping[str, Any]) -> None:
    text = [
        "# What one request costs its neighbours",
        "",
        "Seconds that a neighbour's slowest answer (8 tokens) took longer while one request at the default limit, and",
        "at four times that, was served, or after its client had left. `refused`: by the engine itself.",
        "`make bench-limits` writes this table. The columns `limit` are the defaults that were measured; where others",
        "hold now, docs/limits.md has them. An empty cell was not asked for, or there was no time for it.",
        "",
        table(results),
        "",
        "## Ordinary requests",
        "",
        "The same for structured answers as people ask for them, under the default limits.",
        "",
        ordinary_table(results),
        "",
        *(f"* {name}: {each['machine']}{other_programs(each['others'])}." for name, each in results.items()),
        "* The model is SmolLM2-135M-Instruct, whose vocabulary has 49,152 tokens. llama.cpp and transformers have one",
        "  thread. The chat template names the first tool alone: to read of many takes what a long prompt does.",
        "  What ways cost llama.cpp grows with the vocabulary: with 150,000 tokens it is three times as much.",
        "",
    ]
    (HERE / "results.md").write_text("\n".join(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", default=["llamacpp", "vllm", "transformers"])
    parser.add_argument("--only", default="", help="a regular expression: kinds of requests by name or setting")
    parser.add_argument("--minutes", type=float, default=5, help="that each engine may take, its start included")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for engine in options.engines:
        with Others() as others:
            measured = measure(engine, options.only, options.minutes)
        measured |= {"machine": machine(), "others": others.share}
        if options.only and engine in results:
            measured["rows"] = {**results[engine]["rows"], **measured["rows"]}
        results[engine] = measured
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        write(results)


if __name__ == "__main__":
    main()
