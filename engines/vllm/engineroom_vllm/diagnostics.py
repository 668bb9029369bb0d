"""What vLLM writes, in words that help: why it ended, why it refused a request, how long its start took."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from engineroom.errors import APIError
from engineroom.openai.upstream_errors import field_about, from_upstream
from engineroom.process import LogFormat
from engineroom.server import LIBRARY_CAUSES, Cause, Diagnostics, Situation, diagnose, variable_of

_MEMORY = "lower MAX_MODEL_LEN or MAX_NUM_SEQS, quantise, or take more or larger GPUs"


def _architectures(match: re.Match[str], variables: Mapping[str, str]) -> str:
    listed = ", ".join(re.findall(r"\w+", match["names"] or match["other"]))
    return (
        f"MODEL_NAME={variables['MODEL_NAME']} is of the architecture {listed}, which this vLLM does not know: a newer "
        "one may, or MODEL_IMPL=transformers"
    )


def _cache(match: re.Match[str], variables: Mapping[str, str]) -> str:
    estimate = re.search(r"estimated maximum model length is (\d+)", match.string)
    limit = f"set MAX_MODEL_LEN={estimate[1]} or less" if estimate else "lower MAX_MODEL_LEN"
    return (
        f"MAX_MODEL_LEN={match['length']} needs {match['needed']} GiB of KV cache, and {match['left']} GiB are left: "
        f"{limit}, or raise GPU_MEMORY_UTILIZATION"
    )


def _context_that_fits(match: re.Match[str], variables: Mapping[str, str]) -> Mapping[str, str]:
    estimate = re.search(r"estimated maximum model length is (\d+)", match.string)
    return {"MAX_MODEL_LEN": estimate[1]} if estimate and int(estimate[1]) else {}


def _share_that_is_free(match: re.Match[str], variables: Mapping[str, str]) -> Mapping[str, str]:
    """A little less than what is free: what takes the rest may grow."""
    share = math.floor(100 * float(match["free"]) / float(match["total"]) - 2) / 100
    return {"GPU_MEMORY_UTILIZATION": f"{share:g}"} if share >= _SMALLEST_SHARE else {}


_SMALLEST_SHARE = 0.1
_FRUGAL = {"ENFORCE_EAGER": "true", "GPU_MEMORY_UTILIZATION": "0.85", "MAX_NUM_BATCHED_TOKENS": "2048"}
"""Without graphs, with smaller steps and some memory left for what is allocated beside the weights and the cache."""


def _no_json(match: re.Match[str], variables: Mapping[str, str]) -> str:
    return f"{variable_of(match['flags'])}={match['value']} is not valid JSON"


CAUSES = (
    Cause(
        r"User-specified max_model_len \((?P<value>\d+)\) is greater than the derived max_model_len "
        r"\(\w+=(?P<limit>\d+)",
        "MAX_MODEL_LEN={value} is more than the model's own context of {limit} tokens: lower it, or leave it out",
    ),
    Cause(
        r"To serve at least one request with the models?'s max seq len \((?P<length>\d+)\), \((?P<needed>[\d.]+) GiB "
        r"KV "
        r"cache is needed, which is larger than the available KV cache memory \((?P<left>[\d.]+) GiB\)",
        _cache,
        _context_that_fits,
    ),
    Cause(
        r"No available memory for the cache blocks",
        "no memory is left for the KV cache (GPU_MEMORY_UTILIZATION is {GPU_MEMORY_UTILIZATION}): raise it, " + _MEMORY,
        {"ENFORCE_EAGER": "true", "MAX_NUM_BATCHED_TOKENS": "2048"},
    ),
    Cause(
        r"Free memory on device[^(]*\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than desired GPU "
        r"memory "
        r"utilization \((?P<share>[\d.]+), (?P<wanted>[\d.]+) GiB\)",
        "GPU_MEMORY_UTILIZATION={share} asks for {wanted} GiB, and {free} of {total} GiB are free: end what else holds "
        "the memory, or lower GPU_MEMORY_UTILIZATION",
        _share_that_is_free,
    ),
    Cause(
        r"CUDA out of memory\. Tried to allocate (?P<size>[\d.]+ \w+)",
        "the GPU's memory is too small: {size} more were needed with GPU_MEMORY_UTILIZATION={GPU_MEMORY_UTILIZATION} "
        "and MAX_MODEL_LEN {MAX_MODEL_LEN}. Lower GPU_MEMORY_UTILIZATION, " + _MEMORY,
        _FRUGAL,
    ),
    Cause(r"CUDA out of memory|OutOfMemoryError: ", "the GPU's memory is too small: " + _MEMORY, _FRUGAL),
    Cause(
        r"[Mm]odel architectures? \[(?P<names>[^\]]+)\] (?:are|is) not supported|Model architectures? "
        r"\[(?P<other>[^\]]+)"
        r"\] failed to be inspected",
        _architectures,
    ),
    Cause(
        r"Cannot find the config file for (?P<method>\w+)|Unknown quantization method: (?P<unknown>\w+)",
        "QUANTIZATION={QUANTIZATION} does not match MODEL_NAME={MODEL_NAME}, which was not quantised in that way: "
        "leave "
        "QUANTIZATION out, or take a model that was",
    ),
    Cause(
        r"LoRA rank (?P<rank>\d+) is greater than max_lora_rank (?P<limit>\d+)",
        "an adapter of LORA_MODULES has the rank {rank}, and MAX_LORA_RANK is {limit}: set MAX_LORA_RANK={rank}",
    ),
    Cause(
        r"Loading lora (?P<name>\S+) failed: No adapter found for (?P<path>/\S+)",
        "LORA_MODULES names the adapter {name} at {path}, where none is: name a folder with an adapter_config.json, "
        "or a "
        "repository",
    ),
    Cause(
        r"[Tt]otal number of attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size "
        r"\((?P<size>\d+)\)",
        "TENSOR_PARALLEL_SIZE={size} does not divide the model's {heads} attention heads: choose a number that does",
    ),
    Cause(
        r"World size \((?P<size>\d+)\) is larger than the number of available GPUs \((?P<limit>\d+)\)",
        "TENSOR_PARALLEL_SIZE={TENSOR_PARALLEL_SIZE} and the other sizes need {size} GPUs, and there are {limit}: "
        "lower them",
    ),
    Cause(
        r"--enable-auto-tool-choice requires --tool-call-parser",
        "ENABLE_AUTO_TOOL_CHOICE=true needs TOOL_CALL_PARSER, the name of the parser for this model's tool calls: "
        "set it, "
        "or leave ENABLE_AUTO_TOOL_CHOICE out",
    ),
    Cause(
        r"invalid (?P<kind>tool call|reasoning) parser: (?P<name>\S+) \(chose from \{ (?P<choices>[^}]*) \}",
        lambda match, _: (
            f"{'TOOL_CALL_PARSER' if match['kind'] == 'tool call' else 'REASONING_PARSER'}={match['name']} is not one "
            f"of "
            f"vLLM's: {match['choices'].replace(',', ', ')}"
        ),
    ),
    Cause(r"argument (?P<flags>-[^:]+): Value (?P<value>.*) cannot be converted to <function loads", _no_json),
    Cause(
        r"No module named '?vllm'?(?:\W|$)",
        "VLLM_PYTHON={VLLM_PYTHON} has no vLLM: name a Python that has it, or install it there",
    ),
    *LIBRARY_CAUSES,
)
"""What vLLM writes, and what it means; tests/start_failures has most of them recorded. The most telling come first."""

DIAGNOSTICS = Diagnostics(
    LogFormat(
        (
            r"\((?P<source>[\w-]+(?: \w+)* pid=\d+)\) ?",
            r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[(?P<source>[^\]]+)\] ?",
        )
    ),
    CAUSES,
    second_hand=r"Engine core initialization failed|EngineDeadError|EngineGenerateError|Worker proc \S+ died|"
    r"WorkerProc initialization failed|WorkerProc (?:hit an exception|failed to start)|EngineCore failed to start|"
    r"Invocation of \w+ method failed|CancelledError|KeyboardInterrupt",
)
"""`(EngineCore pid=42) ERROR 11-21 04:22:08 [core.py:1012] ` is how vLLM begins its lines. What one of its processes
writes about the end of another is second hand."""


def explain(log: Sequence[str], situation: Situation) -> str | None:
    """Why vLLM ended; None where no line says why."""
    reason = diagnose(log, DIAGNOSTICS, situation)
    if reason is None and any("EngineDeadError" in line or "Engine core proc" in line for line in log):
        return "its engine process died without saying why; the machine may have run out of memory"
    return reason


_VALIDATION = re.compile(r"^\d+ validation errors?:\s*(.*)", re.DOTALL)


_PLACE_IN_CODE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ")
"""Where in a library's source an error arose."""

_ABOUT = (
    ("is not a multimodal model", "messages"),
    ("Failed to transform json schema", "response_format"),
    ("structured outputs constraint", "response_format"),
    ("structural tag", "tools"),
)
"""What a message says -> the field that it is about."""


def normalise(status: int, body: bytes) -> APIError:
    """The error for the client.

    vLLM names Python's exceptions as types (`BadRequestError`); OpenAI's follow from the status. A model that it
    does not have gets OpenAI's code, as one that is refused before vLLM is asked.
    """
    error = from_upstream(status, body)
    message, param = _readable(_PLACE_IN_CODE.sub("", error.message))
    param = (error.param or param or field_about(message, _ABOUT) or "").removeprefix("body.") or None
    code = error.code
    if status == 404 and code is None and error.param == "model":
        code = "model_not_found"
    return APIError(message, status=status, param=param, code=code, retry_after=error.retry_after)


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
