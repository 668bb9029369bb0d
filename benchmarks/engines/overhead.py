"""transformers through the worker beside transformers' own continuous batching in a plain script."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from contenders import AT_ONCE, CACHE, COMMON, CONTEXT
from processes import free_port, running, until
from rich.progress import Progress
from rounds import Round
from streams import EngineDoor, prompts

HERE = Path(__file__).parent
BARE, WORKER, DEFAULTS = "bare", "worker", "bare, transformers' own choices"


class Script:
    """bare.py, held ready behind its pipes."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self._child, self._log = child, log
        if self._line().strip() != b"ready":
            raise SystemExit(f"bare.py did not start ({log}):\n{log.read_text()[-2000:]}")

    async def round(self, asked: Sequence[str], tokens: int) -> Round:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"prompts": asked, "tokens": tokens}).encode() + b"\n")
        self._child.stdin.flush()
        return Round(**json.loads(self._line()))

    def _line(self) -> bytes:
        assert self._child.stdout is not None
        if line := self._child.stdout.readline():
            return line
        raise SystemExit(f"bare.py ended ({self._log}):\n{self._log.read_text()[-2000:]}")


async def overhead(
    python: Path, model: str, device: str, dtype: str, tokens: int, rounds: int, logs: Path
) -> dict[str, Any]:
    """Microseconds a token of each, by streams and round.

    Args:
        python: has transformers, and engineroom with its HTTP door and its transformers engine.
        device: `auto`, `cpu` or `cuda`.
    """
    settings = {**COMMON, "ENGINE": "transformers", "MODEL_NAME": model, "DEVICE": device, "DTYPE": dtype}
    settings |= {"KV_CACHE_TOKENS": CACHE, "MAX_MODEL_LEN": str(CONTEXT), "MAX_NUM_SEQS": str(AT_ONCE)}
    settings |= {"ATTN_IMPLEMENTATION": "sdpa"}
    script = [str(python), str(HERE / "bare.py"), model, "--device", device, "--dtype", dtype, "--cache-tokens", CACHE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with ExitStack() as house:
        targets: dict[str, Any] = {}
        log, port = logs / "overhead-worker.log", free_port()
        command = [str(python.with_name("engineroom")), "serve"]
        door = house.enter_context(running(command, {**settings, "PORT": str(port)}, log))
        until(f"http://127.0.0.1:{port}/ping", seconds=1200, child=door, log=log)
        for name, more in {BARE: [], DEFAULTS: ["--defaults"]}.items():
            if name == BARE or device_of(python, device) == "cuda":
                log = logs / f"overhead-{len(targets)}.log"
                targets[name] = Script(house.enter_context(running([*script, *more], {}, log, **pipes)), log)
        targets[WORKER] = EngineDoor(port)
        where = {"device": device_of(python, device), "dtype": dtype, "model": Path(model).name, "tokens": tokens}
        where |= {"hardware": _hardware(python) if where["device"] == "cuda" else ""}
        return {**where, "us_a_token": await _compare(targets, tokens, rounds)}


def device_of(python: Path, device: str) -> str:
    """What `auto` comes to in that Python."""
    if device != "auto":
        return device
    code = "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def _hardware(python: Path) -> str:
    """The GPU, and the libraries that compute on it."""
    code = (
        "import torch, transformers\nprint(torch.cuda.get_device_name(), torch.__version__, transformers.__version__)"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    gpu, torch, transformers = done.stdout.strip().rsplit(" ", 2)
    return f"{gpu}, torch {torch}, transformers {transformers}"


async def _compare(targets: Mapping[str, Any], tokens: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    times_us: dict[str, dict[str, list[float]]] = {name: {"1": [], "4": [], "16": []} for name in targets}
    with Progress(transient=True) as progress:
        task = progress.add_task("worker beside bare", total=(rounds + 1) * 3 * len(targets))
        for number in range(rounds + 1):
            for streams in (1, 4, 16):
                for name in sorted(targets, reverse=bool(number % 2)):
                    result = await targets[name].round(prompts(streams, number), tokens)
                    time_us = 1e6 * result.seconds / result.tokens
                    progress.console.print(f"round {number}, {streams} at {name}: {time_us / 1e3:.2f} ms a token")
                    if number:  # The first round warms up.
                        times_us[name][str(streams)].append(time_us)
                    progress.advance(task)
    return times_us


def table(measured: Mapping[str, Any]) -> list[str]:
    """Markdown: time of a token by streams, and the worker's share beyond the script's, pair by pair."""
    times_us = measured["us_a_token"]
    bares = [name for name in times_us if name != WORKER]
    head = " | ".join([f"{name}, ms a token" for name in (*bares, WORKER)] + [f"worker / {name}" for name in bares])
    rows = [f"| streams | {head} |", "|---" * (2 + 2 * len(bares)) + "|"]
    for streams in times_us[WORKER]:
        times = [f"{statistics.median(times_us[name][streams]) / 1e3:.2f}" for name in (*bares, WORKER)]
        for name in bares:
            pairs = zip(times_us[WORKER][streams], times_us[name][streams], strict=True)
            shares = sorted(ours / theirs for ours, theirs in pairs)
            times.append(f"{statistics.median(shares):.3f} ({shares[0]:.3f} to {shares[-1]:.3f})")
        rows.append(f"| {streams} | {' | '.join(times)} |")
    return rows
