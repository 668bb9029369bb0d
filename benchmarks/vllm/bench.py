"""`make bench-vllm`: both doors beside `vllm serve` itself, on a CPU, interleaved, medians.

One real vLLM serves all three, so that only the way to it differs: straight to its Unix socket, through the HTTP door
that started it, and as jobs of a RunPod endpoint (the emulator) whose worker finds the same socket behind a link.
Then, each started for itself, how soon `vllm serve` and `engineroom serve` have a first token. Writes
benchmarks/vllm/results.md. Needs `make env-vllm`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import uvloop
from processes import ENGINEROOM, free_port, machine, running, until
from rich.console import Console
from rounds import MEANING, ChatServer, Round, compare, median

from engineroom_operations.load import RequestFailure

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PARTS = ("streams", "start")
ROOT = HERE.parents[1]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
MODEL = ROOT / ".build" / "SmolLM2-135M-Instruct"
TARGETS = ("vllm serve", "HTTP door", "RunPod door")
BODY = {
    "model": "smol",
    "messages": [{"role": "user", "content": "Write a long story about a lighthouse keeper and the sea."}],
    "temperature": 0,
    "ignore_eos": True,
    "max_tokens": 128,
}
SETTINGS = {
    "ENGINE": "vllm",
    "MODEL_NAME": str(MODEL),
    "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "smol",
    "VLLM_PYTHON": str(PYTHON),
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "ENFORCE_EAGER": "true",
    "DTYPE": "float32",  # In bfloat16 a CPU without AVX-512 takes several times as long.
    "MAX_MODEL_LEN": "2048",
    "LOG_LEVEL": "WARNING",
}
LINKED = """#!/bin/sh
[ "$1" = -c ] && echo '{{"vllm": "0.32.0"}}' && exit
while [ "$1" != --uds ]; do shift; done
ln -s {socket} "$2"
exec sleep infinity
"""
console = Console()


async def streams_part(rounds: int) -> list[str]:
    port, platform_port = free_port(), free_port()
    with running([ENGINEROOM, "serve"], {**SETTINGS, "PORT": str(port)}) as door:
        until(f"http://127.0.0.1:{port}/health", seconds=300)
        socket = _socket_of(door.pid)
        with tempfile.TemporaryDirectory() as folder:
            python = Path(folder) / "python"
            python.write_text(LINKED.format(socket=socket))
            python.chmod(0o755)
            emulate = [ENGINEROOM, "emulate", "--quiet", "--port", str(platform_port), "--", ENGINEROOM, "runpod"]
            with running(emulate, {**SETTINGS, "VLLM_PYTHON": str(python)}) as emulator:
                base = "/v2/emulated/openai/v1"
                until(f"http://127.0.0.1:{platform_port}{base}/models", seconds=60)
                targets = {
                    "vllm serve": (ChatServer(Path(socket)), None),
                    "HTTP door": (ChatServer(port), door.pid),
                    "RunPod door": (ChatServer(platform_port, base=base), _worker_of(emulator.pid)),
                }
                plans = dict.fromkeys((1, 16), BODY)
                results = await compare("vLLM", targets, plans, rounds, console)
    rows = [
        "### Streams of 128 tokens",
        "",
        f"{rounds} rounds after one that warms up, each beginning with another. The share is the median of the rounds. "
        "CPU is that of our process alone. The emulator's own process shares the cores with everything else.",
        "",
        "| streams | | tokens/s | of `vllm serve` | TTFT, ms | CPU of the door, µs a token |",
        "|---|---|---|---|---|---|",
    ]
    for streams in plans:
        for name in TARGETS:
            rows.append(_row(streams, name, results[streams, "vllm serve"], results[streams, name]))
    return rows


def _row(streams: int, name: str, direct: Sequence[Round], results: Sequence[Round]) -> str:
    share = statistics.median(one.rate / other.rate for one, other in zip(results, direct, strict=True))
    spread = " to ".join(f"{pick(one.rate for one in results):.1f}" for pick in (min, max))
    cpu = "" if name == "vllm serve" else f"{median(results, 'cpu_us'):.1f}"
    cells = (
        f"{median(results, 'rate'):.1f} ({spread})",
        f"{100 * share:.1f} %",
        f"{median(results, 'ttft_ms'):.1f}",
        cpu,
    )
    return f"| {streams} | {name} | {' | '.join(cells)} |"


def _descendants(pid: int) -> Iterator[tuple[int, list[str]]]:
    """Every process below one, with its command line."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child), Path(f"/proc/{child}/cmdline").read_text().split("\0")
        yield from _descendants(int(child))


def _socket_of(pid: int) -> str:
    lines = (line for _, line in _descendants(pid) if "--uds" in line and line[0] == str(PYTHON))
    line = next(lines)
    return line[line.index("--uds") + 1]


def _worker_of(pid: int) -> int:
    return next(child for child, line in _descendants(pid) if line[1:3] == [ENGINEROOM, "runpod"])


async def start_part(rounds: int) -> list[str]:
    seconds_of: dict[str, list[float]] = {"vllm serve": [], "engineroom serve": []}
    for number in range(rounds + 1):
        for name, taken in seconds_of.items():
            console.print(f"start {number} of {name}", markup=False)
            seconds = await (_bare_start() if name == "vllm serve" else _door_start())
            if number:  # The first round warms the caches up.
                taken.append(seconds)
    rows = [
        "### From the command to the first token",
        "",
        f"{rounds} pairs of starts after one that warms up.",
        "",
        "| | s, median | fastest to slowest |",
        "|---|---|---|",
    ]
    for name, taken in seconds_of.items():
        rows.append(f"| `{name}` | {statistics.median(taken):.2f} | {min(taken):.2f} to {max(taken):.2f} |")
    pairs = (ours - bare for bare, ours in zip(*seconds_of.values(), strict=True))
    return [*rows, "", f"Median of the differences, pair by pair: {statistics.median(pairs):+.2f} s."]


async def _bare_start() -> float:
    names = ("MODEL_NAME", "OPENAI_SERVED_MODEL_NAME_OVERRIDE", "MAX_MODEL_LEN", "DTYPE")
    model, served, length, dtype = (SETTINGS[name] for name in names)
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "engine.sock"
        options = ["--served-model-name", served, "--max-model-len", length, "--dtype", dtype]
        extra = ["--enforce-eager", "--gpu-memory-utilization", "0.95", "--disable-uvicorn-access-log"]
        began = time.perf_counter()
        command = [PYTHON, "-m", "vllm.entrypoints.cli.main", "serve", model, "--uds", socket, *options, *extra]
        with running([str(part) for part in command], _environ()):
            return await _first_token(ChatServer(socket), began)


async def _door_start() -> float:
    port = free_port()
    began = time.perf_counter()
    with running([ENGINEROOM, "serve"], {**_environ(), "PORT": str(port)}) as door:
        until(f"http://127.0.0.1:{port}/ping", seconds=300, child=door)
        return await _first_token(ChatServer(port), began)


def _environ() -> dict[str, str]:
    return {**os.environ, **SETTINGS}


async def _first_token(server: ChatServer, began: float) -> float:
    """Ask as soon as somebody answers; the moment of the first token."""
    deadline = began + 300
    why: RequestFailure | None = None
    while time.perf_counter() < deadline:
        try:
            asked = time.perf_counter()
            result = await server.round([{**BODY, "max_tokens": 2}])
            return asked + result.first[0] - began
        except RequestFailure as failure:
            if failure.kind not in ("unreachable", "cut off", "overloaded"):
                raise SystemExit(f"no first token: {failure}") from None
            why = failure
            await asyncio.sleep(0.02)
        finally:
            server.close()
    raise SystemExit(f"no first token within 300 s: {why}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of streams (7)")
    parser.add_argument("--starts", type=int, default=3, help="counted pairs of starts (3)")
    parser.add_argument("--only", choices=list(PARTS), help="measure one part, and leave the other's results")
    options = parser.parse_args()
    if not PYTHON.exists() or not MODEL.exists():
        raise SystemExit("there is no real vLLM here: make env-vllm")
    measured = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in PARTS:
        if options.only in (None, name):
            rows = uvloop.run(streams_part(options.rounds) if name == "streams" else start_part(options.starts))
            console.print("\n".join(["", *rows]), markup=False)
            # Written at once: what comes later may fail, or be cut off.
            measured[name] = {"machine": machine(), "rows": rows}
            RESULTS.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            (HERE / "results.md").write_text(_page(measured), encoding="utf-8")


def _page(measured: Mapping[str, Any]) -> str:
    lines = [
        "# vLLM behind both doors, measured",
        "",
        "`make bench-vllm`: interleaved, medians. vLLM 0.32.0 (CPU build, float32, eager) with SmolLM2-135M; client, "
        f"door and vLLM share the machine. {MEANING}",
    ]
    for name in PARTS:
        if name in measured:
            title, *rows = measured[name]["rows"]
            lines += ["", title, "", f"On {measured[name]['machine']}.", *rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
