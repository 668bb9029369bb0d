"""guidellm and aiperf on the same source as ours: what each says of it, and what each needs for that."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from processes import ENGINEROOM
from programs_timed import Used, timed
from rich.console import Console

VERSIONS = {"guidellm": "0.8.1", "aiperf": "0.13.0"}
STREAMS = 16
REQUESTS = 96
TOKENS = 100
FIRST_MS = 300
TOKEN_MS = 20
ROUNDS = 3

_TOKENIZER = """
import json, pathlib, sys
from tokenizers import Tokenizer, models, pre_tokenizers
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
made = Tokenizer(models.WordLevel({"[UNK]": 0, "token": 1, "word": 2}, unk_token="[UNK]"))
made.pre_tokenizer = pre_tokenizers.Whitespace()
made.save(str(folder / "tokenizer.json"))
names = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}
(folder / "tokenizer_config.json").write_text(json.dumps(names))
(folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
"""
"""Both want a tokenizer of the hub; without one they take a folder with this, which counts words."""


class LoadFigures(NamedTuple):
    """What one program says of the source: medians in ms, but for the rate."""

    ttft_ms: float
    token_ms: float
    answer_ms: float
    tokens_per_s: float
    used: Used


def compare(url: str, folder: Path, at: Path, console: Console) -> list[str]:
    """Rows of a table: each program in turn, round after round, medians over the rounds.

    Args:
        folder: for what they write.
        at: where their environments are, or will be.
    """
    programs: dict[str, Callable[[], LoadFigures]] = {"engineroom bench": lambda: _ours(url, folder)}
    for name in VERSIONS:
        _install(name, at, console)
    python = str(at / "aiperf" / "bin" / "python")
    subprocess.run([python, "-c", _TOKENIZER, str(folder / "tokenizer")], check=True, timeout=120)
    programs["guidellm"] = lambda: _guidellm(url, folder, at)
    programs["aiperf"] = lambda: _aiperf(url, folder, at)
    figures: defaultdict[str, list[LoadFigures]] = defaultdict(list)
    for number in range(ROUNDS):
        for name, run in programs.items():
            console.print(f"round {number + 1}: {name}")
            figures[name].append(run())
    lines = [
        f"### {STREAMS} streams, {REQUESTS} answers of {TOKENS} tokens, {FIRST_MS} ms to the first, {TOKEN_MS} ms each",
        "",
        f"Medians of {ROUNDS} rounds in turn; in brackets, against ours. Sizes are those of an environment with nothing"
        " else in it. CPU is that of the whole run, with its start and its report.",
        "",
        "| | TTFT, ms | a token, ms | answer, ms | tokens/s | CPU, s | wall, s | packages | MB installed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ours = _medians(figures["engineroom bench"])
    for name, rounds in figures.items():
        row = _medians(rounds)
        columns = zip(row, ours, (1, 2, 0, 0), strict=True)
        cells = [f"{value:.{digits}f}{_against(value, base)}" for value, base, digits in columns]
        cpu_s = statistics.median(one.used.cpu_s for one in rounds)
        wall_s = statistics.median(one.used.seconds for one in rounds)
        title = name
        size = "- | -"
        if name in VERSIONS:
            title = f"{name} {VERSIONS[name]}"
            packages, megabytes = _size(at / name)
            size = f"{packages} | {megabytes:,.0f}"
        lines.append(f"| {title} | {' | '.join(cells)} | {cpu_s:.1f} | {wall_s:.0f} | {size} |")
    return lines


def _medians(rounds: Sequence[LoadFigures]) -> list[float]:
    return [statistics.median(column) for column in list(zip(*rounds, strict=True))[:4]]


def _against(value: float, base: float) -> str:
    return "" if value is base else f" ({100 * (value / base - 1):+.1f} %)"


def _install(name: str, at: Path, console: Console) -> None:
    folder = at / name
    if (folder / "bin" / name).exists():
        return
    console.print(f"Installing {name} {VERSIONS[name]} into {folder}")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{name}=={VERSIONS[name]}"], check=True, timeout=1200)


def _size(folder: Path) -> tuple[int, float]:
    """Distributions in an environment, and its size in MB."""
    packages = len(list(folder.glob("lib/python*/site-packages/*.dist-info")))
    return packages, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def _asks(folder: Path, name: str) -> str:
    """A file of prompts, whose field has the name that a program wants."""
    file = folder / f"{name}.json"
    rows = [{name: f"{number} " + "word " * 30, "output_tokens_count": TOKENS} for number in range(2 * REQUESTS)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return str(file)


def _ours(url: str, folder: Path) -> LoadFigures:
    file = folder / "ours.json"
    options = ["-c", str(STREAMS), "-n", str(REQUESTS), "--output-tokens", str(TOKENS), "--input-tokens", "32"]
    fields = ["-f", f"first_ms={FIRST_MS}", "-f", f"rate={1000 / TOKEN_MS:g}"]
    command = [ENGINEROOM, "bench", url, "-m", "source", "--ramp", "0", *options, *fields, "--json", str(file)]
    used = timed(command)
    stage = json.loads(file.read_text())["stages"][0]
    medians = [stage[name]["median"] for name in ("ttft", "token", "end_to_end")]
    return LoadFigures(*medians, stage["tokens_out_per_s"], used)


def _guidellm(url: str, folder: Path, at: Path) -> LoadFigures:
    file = folder / "guidellm.json"
    extras = {"body": {"rate": 1000 / TOKEN_MS, "first_ms": FIRST_MS}}
    backend = {"kind": "openai_http", "target": url, "model": "source", "extras": extras}
    spec = {
        "backend": {**backend, "request_format": "/v1/chat/completions"},
        "profile": {"kind": "concurrent", "streams": STREAMS},
        "constraints": [{"kind": "max_requests", "count": REQUESTS}],
        "data": [{"kind": "json_file", "path": _asks(folder, "prompt")}],
        "tokenizer": {"kind": "huggingface_auto", "model": str(folder / "tokenizer")},
        "outputs": [{"kind": "json", "path": str(file)}],
    }
    scenario = folder / "scenario.json"
    scenario.write_text(json.dumps({"metadata": {"name": "source"}, "spec": spec}))
    command = [str(at / "guidellm" / "bin" / "guidellm"), "run", "-c", str(scenario), "--disable-progress"]
    used = timed(command, {"HF_HUB_OFFLINE": "1"})
    result = json.loads(file.read_text())["benchmarks"][0]
    metrics = result["metrics"]
    ttft, token, answer = (
        metrics[name]["successful"]["median"]
        for name in ("time_to_first_token_ms", "inter_token_latency_ms", "request_latency")
    )
    tokens = metrics["output_token_count"]["successful"]["total_sum"]
    return LoadFigures(ttft, token, 1000 * answer, tokens / result["duration"], used)


def _aiperf(url: str, folder: Path, at: Path) -> LoadFigures:
    artifacts = folder / "aiperf"
    command = [str(at / "aiperf" / "bin" / "aiperf"), "profile", "--model", "source", "--url", url]
    command += ["--endpoint-type", "chat", "--streaming", "--ui", "none", "--output-artifact-dir", str(artifacts)]
    command += ["--concurrency", str(STREAMS), "--request-count", str(REQUESTS)]
    command += ["--input-file", _asks(folder, "text"), "--custom-dataset-type", "single_turn"]
    for field in (f"rate:{1000 / TOKEN_MS:g}", f"first_ms:{FIRST_MS}", f"max_tokens:{TOKENS}"):
        command += ["--extra-inputs", field]
    used = timed([*command, "--use-server-token-count", "--tokenizer", str(folder / "tokenizer")])
    result = json.loads((artifacts / "profile_export_aiperf.json").read_text())
    medians = [result[name]["p50"] for name in ("time_to_first_token", "inter_token_latency", "request_latency")]
    return LoadFigures(*medians, result["output_token_throughput"]["avg"], used)
