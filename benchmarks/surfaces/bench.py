"""`make bench-surfaces`: 1,000 prompts in ten scripts over chat, Responses and Messages, each whole and streamed.

A small real model behind the HTTP door is asked 6,000 times for four tokens, with each engine that is installed. Its
vocabulary has few characters beyond English ones, so that many answers begin with a part of a character. Every answer
is held against what the conformance kit promises of it: status, order of the events, what they add up to. Writes
benchmarks/surfaces/results.md, each engine's own table, from the last run of each (results.json).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from client_engines import ENGINES
from processes import machine

from engineroom.testing import Expectations, url_target
from engineroom.testing.scripts import BOTH_WAYS, SCRIPTS, prompts

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
REAL = tuple(name for name, engine in ENGINES.items() if not engine.echoes)
BATCHED = {"llamacpp": {"CTX_SIZE": "8192", "PARALLEL": "8"}}
"""Settings by which an engine answers as many prompts at once as it is asked."""
AT_ONCE = 8
LOST = "\ufffd"


async def measure(url: str, count: int) -> tuple[list[str], Counter[str]]:
    """The rows of the table, and how often each thing was wrong."""
    rows: list[str] = []
    wrong: Counter[str] = Counter()
    permits = asyncio.Semaphore(AT_ONCE)
    async with url_target(url, Expectations(fields={"temperature": 0})) as target:

        async def ask(path: str, prompt: str) -> str:
            """What came of one prompt: `alike` or `differs`, or how it was not good."""
            async with permits:
                try:
                    whole, streamed = await BOTH_WAYS[path](target, prompt)
                except Exception as error:
                    wrong[f"{path}, {prompt!r}: {type(error).__name__}: {str(error)[:300]}"] += 1
                    return "failed"
            if LOST in whole.rstrip(LOST) or LOST in streamed.rstrip(LOST):
                wrong[f"{path}, {prompt!r}: a character was lost in {whole!r} or {streamed!r}"] += 1
                return "lost"
            return "alike" if whole == streamed else "differs"

        for script in SCRIPTS:
            cells = []
            for path in BOTH_WAYS:
                outcomes = Counter(await asyncio.gather(*(ask(path, prompt) for prompt in prompts(script, count))))
                good = outcomes["alike"] + outcomes["differs"]
                cells.append(f"{2 * good} of {2 * count} ({outcomes['alike']})")
            rows.append(f"| {script} | " + " | ".join(cells) + " |")
            print(rows[-1], flush=True)
    return rows, wrong


def run(name: str, count: int) -> dict[str, Any]:
    """One engine's results."""
    engine = ENGINES[name]
    print(f"{name}: starting", flush=True)
    with replace(engine, settings={**engine.settings, **BATCHED.get(name, {})}).served() as url:
        rows, wrong = asyncio.run(measure(url, count))
    return {"count": count, "machine": machine(), "rows": rows, "wrong": list(wrong.elements())}


def save(results: dict[str, Any]) -> None:
    """Write both files; after each engine, as all of them take long."""
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (HERE / "results.md").write_text(report(results), encoding="utf-8")


def report(results: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Prompts in ten scripts",
        "",
        "`make bench-surfaces` asks a small model each prompt whole and streamed, on three surfaces, for up to four "
        "tokens. A cell has the answers that are as the conformance kit promises, and in brackets how many prompts "
        "were answered alike whole and streamed. (What is batched beside a prompt can change its answer.)",
    ]
    for name, result in results.items():
        prompted = result["count"] * len(SCRIPTS)
        wrong = result["wrong"]
        lines += [
            "",
            f"## {name}",
            "",
            f"{prompted:,} prompts, {2 * prompted * len(BOTH_WAYS):,} answers. {result['machine']}",
            "",
            "| script | " + " | ".join(f"`{path}`" for path in BOTH_WAYS) + " |",
            "|---|" + "---|" * len(BOTH_WAYS),
            *result["rows"],
            "",
            f"Not as promised: {len(wrong)}.",
            *(f"* {what}" for what in wrong),
        ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="prompts in each script")
    parser.add_argument("--engine", action="append", choices=REAL, help="one engine alone; may be repeated")
    options = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in options.engine or REAL:
        if (missing := ENGINES[name].missing) is not None:
            print(missing)
            continue
        results[name] = run(name, options.count)
        save({name: results[name] for name in REAL if name in results})


if __name__ == "__main__":
    main()
