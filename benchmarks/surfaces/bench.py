"""`make bench-surfaces`: 1,000 prompts in ten scripts over chat, Responses and Messages, each whole and streamed.

A real small model (ENGINE=llamacpp, unless told otherwise) behind the HTTP door, which is asked 6,000 times for four
tokens. Its vocabulary has few characters beyond English ones, so that many answers begin with a part of a character.
Every answer is held against what the conformance kit promises of it: status, order of the events, what they add up to.
Writes benchmarks/surfaces/results.md.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from processes import ENGINEROOM, free_port, machine, running, until

from engineroom.testing import Expectations, url_target
from engineroom.testing.scripts import BOTH_WAYS, SCRIPTS, prompts

HERE = Path(__file__).parent
SETTINGS = {"CTX_SIZE": "8192", "PARALLEL": "8", "THREADS": "1", "LOG_LEVEL": "WARNING"}
AT_ONCE = 8
LOST = "\ufffd"


async def measure(url: str, count: int) -> tuple[list[str], Counter[str]]:
    """The rows of the table, and how often each thing was wrong."""
    rows: list[str] = []
    wrong: Counter[str] = Counter()
    permits = asyncio.Semaphore(AT_ONCE)
    async with url_target(url, Expectations(fields={"temperature": 0, "seed": 1})) as target:

        async def ask(path: str, prompt: str) -> str:
            """What came of one prompt: `good`, or how it was not."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="prompts in each script")
    parser.add_argument("--engine", default="llamacpp")
    options = parser.parse_args()
    port = free_port()
    with running([ENGINEROOM, "serve"], {**SETTINGS, "ENGINE": options.engine, "PORT": str(port)}):
        until(f"http://127.0.0.1:{port}/ping")
        rows, wrong = asyncio.run(measure(f"http://127.0.0.1:{port}", options.count))
    total = 2 * options.count * len(SCRIPTS) * len(BOTH_WAYS)
    report = [
        "# Prompts in ten scripts",
        "",
        f"`make bench-surfaces`: {options.count * len(SCRIPTS):,} prompts, each asked whole and streamed on three "
        f"surfaces of {options.engine}: {total:,} answers of up to four tokens. {machine()}",
        "",
        "A cell has the answers that are as the conformance kit promises, and in brackets how many prompts were "
        "answered alike whole and streamed. (What is batched beside a prompt can change its answer.)",
        "",
        "| script | " + " | ".join(f"`{path}`" for path in BOTH_WAYS) + " |",
        "|---|" + "---|" * len(BOTH_WAYS),
        *rows,
        "",
        f"Not as promised: {sum(wrong.values())}.",
        *(f"* {what}" for what in wrong),
    ]
    (HERE / "results.md").write_text("\n".join(report).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
