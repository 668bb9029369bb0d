"""What vLLM writes, in words that help: why it ended, why it refused a request, how long its start took."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

from engineroom.errors import APIError
from engineroom.models import explain as hub_advice
from engineroom.openai.upstream_errors import from_upstream

_PREFIX = re.compile(r"^(?:\(\w+(?: \w+)*\s+pid=\d+\)\s*)?(?:(?:ERROR|CRITICAL|WARNING|INFO) \S+ \S+ \[[^\]]*\]\s*)?")
"""`(EngineCore pid=42) ERROR 11-21 04:22:08 [core.py:1012] `, as vLLM begins its lines."""

_ADVICE = (
    (
        r"CUDA out of memory|torch\.OutOfMemoryError|OutOfMemoryError: ",
        "the GPU's memory is too small for this model with these settings: lower MAX_MODEL_LEN, MAX_NUM_SEQS or "
        "GPU_MEMORY_UTILIZATION, quantise, or take more or larger GPUs",
    ),
    (
        "Free memory on device .* is less than desired GPU memory utilization",
        "something else holds the GPU's memory, or GPU_MEMORY_UTILIZATION is too high",
    ),
    (
        "No available memory for the cache blocks|KV cache is needed, which is larger than the available",
        "no room is left for the KV cache: lower MAX_MODEL_LEN, or raise GPU_MEMORY_UTILIZATION",
    ),
    (
        "architectures? .*(?:not supported|failed to be inspected)|does not recognize this architecture",
        "this vLLM does not know the model's architecture: a newer one may, or MODEL_IMPL=transformers",
    ),
    ("No space left on device", "the disk is full"),
    ("trust_remote_code=True|requires you to execute the .* code", "the model needs TRUST_REMOTE_CODE=true"),
    ("is greater than the derived max_model_len", "MAX_MODEL_LEN is more than the model's own context"),
    (
        "no kernel image is available|CUDA driver version is insufficient|forward compatibility was attempted",
        "this image's CUDA and the machine's GPU or driver do not go together",
    ),
    ("serve: error: ", "vLLM refused its command line"),
    ("No module named '?vllm'?", "that Python has no vLLM: check VLLM_PYTHON"),
)
"""Patterns of lines, and what to do about them, the most telling first. The core knows the errors of the hub."""

_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b:?.*")
_SECOND_HAND = re.compile(
    r"Engine core initialization failed|EngineDeadError|EngineGenerateError|Worker proc \S+ died|"
    r"WorkerProc initialization failed|CancelledError|KeyboardInterrupt"
)
"""What one process of vLLM writes about the end of another; the reason stands elsewhere."""


def explain(log: Sequence[str], repository: str | None = None, token: str | None = None) -> str | None:
    """The line that says why vLLM ended, with advice where there is any; None where no line says why.

    Args:
        log: the last lines, oldest first.
        repository: the model, where it has to come from the hub.
        token: the hub's token that vLLM had, if any.
    """
    lines = [_PREFIX.sub("", line).strip() for line in log]
    for pattern, advice in _ADVICE:
        for line in lines:
            if re.search(pattern, line):
                return f"{advice} ({_short(line)})"
    if repository is not None:
        # All lines together say most: a 401 alone may mean a repository that is gated, or one that is not there.
        advice_of_hub = hub_advice(repository, "\n".join(lines), token)
        for line in lines:
            if advice_of_hub and hub_advice(repository, line, token) == advice_of_hub:
                return f"{advice_of_hub} ({_short(line)})"
    for line in lines:
        if line.startswith("Value error, "):
            return _short(line.removeprefix("Value error, "))
    for line in lines:
        if _EXCEPTION.match(line) and not _SECOND_HAND.search(line):
            return _short(line)
    if any("EngineDeadError" in line or "Engine core proc" in line for line in lines):
        return "its engine process died without saying why; the machine may have run out of memory"
    return None


def _short(line: str) -> str:
    return line if len(line) <= 400 else line[:399] + "…"


_VALIDATION = re.compile(r"^\d+ validation errors?:\s*(.*)", re.DOTALL)


def normalise(status: int, body: bytes) -> APIError:
    """The error for the client.

    vLLM names Python's exceptions as types (`BadRequestError`); OpenAI's follow from the status. A model that it
    does not have gets OpenAI's code, as one that is refused before vLLM is asked.
    """
    error = from_upstream(status, body)
    message, param = _readable(error.message)
    code = error.code
    if status == 404 and code is None and error.param == "model":
        code = "model_not_found"
    return APIError(message, status=status, param=error.param or param, code=code, retry_after=error.retry_after)


def _readable(message: str) -> tuple[str, str | None]:
    """A list of pydantic's errors, a dict's repr a line, as sentences, and the field that the first is about."""
    match = _VALIDATION.match(message)
    if match is None:
        return message, None
    details: list[tuple[str, str]] = []
    for line in match[1].splitlines():
        try:
            detail = ast.literal_eval(line.strip())
            field = str(detail["loc"]).removeprefix("body.").removeprefix("body")
            details.append((str(detail["msg"]), field))
        except (ValueError, SyntaxError, KeyError, TypeError):
            details.append((line.strip(), ""))
    sentences = dict.fromkeys(f"{text}: {field}" if field else text for text, field in details if text)
    first_field = details[0][1] if details else ""
    return "; ".join(sentences) or message, first_field or None


_PHASES = (
    ("weights loaded", re.compile(r"Loading weights took ([\d.]+) seconds")),
    ("model loaded", re.compile(r"Model loading took .*?([\d.]+) seconds")),
    ("compiled", re.compile(r"torch\.compile (?:and initial profiling run )?took ([\d.]+) s")),
    ("graphs captured", re.compile(r"Graph capturing finished in ([\d.]+) secs")),
    ("engine initialised", re.compile(r"init engine \(.*?\) took ([\d.]+) s")),
)


def phases(log: Iterable[str]) -> list[tuple[str, float]]:
    """The phases of the start that the log names, each with the seconds that it took."""
    lines = list(log)
    durations = []
    for name, pattern in _PHASES:
        matches = [match for match in map(pattern.search, lines) if match is not None]
        if matches:
            durations.append((name, float(matches[-1][1])))
    return durations
