"""Why vLLM ended, read off the lines that it wrote."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

from engineroom.errors import APIError
from engineroom.openai.upstream_errors import from_upstream

_PREFIX = re.compile(r"^(?:\(\w+(?: \w+)*\s+pid=\d+\)\s*)?(?:(?:ERROR|CRITICAL|WARNING|INFO) \S+ \S+ \[[^\]]*\]\s*)?")
"""`(EngineCore pid=42) ERROR 11-21 04:22:08 [core.py:1012] `, as vLLM begins its lines."""

_KNOWN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), advice)
    for pattern, advice in (
        (
            r"CUDA out of memory|torch\.OutOfMemoryError|OutOfMemoryError: ",
            "the GPU's memory is too small for this model with these settings: lower MAX_MODEL_LEN, MAX_NUM_SEQS or "
            "GPU_MEMORY_UTILIZATION, quantise, or take more or larger GPUs",
        ),
        (
            r"Free memory on device .* is less than desired GPU memory utilization",
            "something else holds the GPU's memory, or GPU_MEMORY_UTILIZATION is too high",
        ),
        (
            r"No available memory for the cache blocks|KV cache is needed, which is larger than the available",
            "no room is left for the KV cache: lower MAX_MODEL_LEN, or raise GPU_MEMORY_UTILIZATION",
        ),
        (
            r"GatedRepoError|gated repo|Access to model .* is restricted|401 Client Error",
            "the repository is gated or private: accept its terms on the hub and set HF_TOKEN",
        ),
        (
            r"RepositoryNotFoundError|is not a local folder and is not a valid model identifier",
            "the hub knows no such repository, or HF_TOKEN may not see it: check MODEL_NAME",
        ),
        (
            r"RevisionNotFoundError|is not a valid git identifier",
            "the repository has no such branch, tag or commit: check MODEL_REVISION",
        ),
        (
            r"LocalEntryNotFoundError|couldn't connect to 'https?://|outgoing traffic has been disabled",
            "the model is not in a local cache and the hub cannot be reached",
        ),
        (
            r"architectures? .*(?:not supported|failed to be inspected)|does not recognize this architecture",
            "this vLLM does not know the model's architecture: a newer one may, or MODEL_IMPL=transformers",
        ),
        (r"No space left on device", "the disk is full"),
        (r"trust_remote_code=True|requires you to execute the .* code", "the model needs TRUST_REMOTE_CODE=true"),
        (r"is greater than the derived max_model_len", "MAX_MODEL_LEN is more than the model's own context"),
        (
            r"no kernel image is available|CUDA driver version is insufficient|forward compatibility was attempted",
            "this image's CUDA and the machine's GPU or driver do not go together",
        ),
        (r"serve: error: ", "vLLM refused its command line"),
        (r"No module named '?vllm'?", "that Python has no vLLM: check VLLM_PYTHON"),
    )
)

_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b:?.*")
_SECOND_HAND = re.compile(
    r"Engine core initialization failed|EngineDeadError|EngineGenerateError|Worker proc \S+ died|"
    r"WorkerProc initialization failed|CancelledError|KeyboardInterrupt"
)
"""What one process of vLLM says about the end of another; the reason stands elsewhere."""


def explain(returncode: int, log: Sequence[str]) -> str | None:
    """The line that says why, with advice where it is a known one; None where no line tells.

    Args:
        returncode: the exit code, negative for a signal.
        log: the last lines, oldest first.
    """
    lines = [_PREFIX.sub("", line).strip() for line in log]
    for pattern, advice in _KNOWN:
        for line in lines:
            if pattern.search(line):
                return f"{advice} ({_short(line)})"
    told = [line.removeprefix("Value error, ") for line in lines if line.startswith("Value error, ")]
    if told:
        return _short(told[0])
    exceptions = [line for line in lines if _EXCEPTION.match(line) and not _SECOND_HAND.search(line)]
    if exceptions:
        return _short(exceptions[0])
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
    told: list[tuple[str, str]] = []
    for line in match[1].splitlines():
        try:
            detail = ast.literal_eval(line.strip())
            told.append((str(detail["msg"]), str(detail["loc"]).removeprefix("body.").removeprefix("body")))
        except (ValueError, SyntaxError, KeyError, TypeError):
            told.append((line.strip(), ""))
    sentences = dict.fromkeys(f"{text}: {field}" if field else text for text, field in told if text)
    return "; ".join(sentences) or message, told[0][1] or None if told else None


_PHASES = (
    ("weights loaded", re.compile(r"Loading weights took ([\d.]+) seconds")),
    ("model loaded", re.compile(r"Model loading took .*?([\d.]+) seconds")),
    ("compiled", re.compile(r"torch\.compile (?:and initial profiling run )?took ([\d.]+) s")),
    ("graphs captured", re.compile(r"Graph capturing finished in ([\d.]+) secs")),
    ("engine initialised", re.compile(r"init engine \(.*?\) took ([\d.]+) s")),
)


def phases(log: Iterable[str]) -> list[tuple[str, float]]:
    """Each phase that the log names, with the seconds that it took."""
    lines = list(log)
    return [
        (name, float(found[-1]))
        for name, pattern in _PHASES
        if (found := [match[1] for line in lines if (match := pattern.search(line))])
    ]
