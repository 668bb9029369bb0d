"""Why SGLang fails: what its errors mean. The sentences are those of 0.5.23's sources."""

from __future__ import annotations

import re

from engineroom.errors import APIError
from engineroom.openai.upstream_errors import field_about, from_upstream
from engineroom.process import LogFormat
from engineroom.server import LIBRARY_CAUSES, Cause, Diagnostics

_CAUSES = (
    Cause(
        r"Not enough memory\. Please try to increase --mem-fraction-static",
        "the GPU's memory has no room for a cache beside MODEL_NAME={MODEL_NAME}: raise MEM_FRACTION_STATIC, quantise, "
        "or take more or larger GPUs (TENSOR_PARALLEL_SIZE)",
    ),
    Cause(
        r"(?:CUDA|HIP) out of memory|torch\.OutOfMemoryError|[cC]apture cuda graph failed",
        "the GPU ran out of memory: lower MEM_FRACTION_STATIC, CHUNKED_PREFILL_SIZE or MAX_RUNNING_REQUESTS, or take a "
        "larger GPU",
        {"MEM_FRACTION_STATIC": "0.7"},
    ),
    Cause(
        r"context_length \((?P<value>\d+)\) is greater than the derived context_length \((?P<limit>\d+)\)",
        "CONTEXT_LENGTH={value} is more than the {limit} tokens that MODEL_NAME={MODEL_NAME} was made for: lower it, "
        "or set SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN=1",
    ),
    Cause(
        r"Model architectures? \[?'?(?P<name>\w+)'?\]? (?:is|are) not supported",
        "MODEL_NAME={MODEL_NAME} is of the architecture {name}, which this SGLang does not know: a newer one may, else "
        "take another model",
    ),
    Cause(
        r"No (?:accelerator|CUDA|GPU)[^\n]*(?:available|found)|Found no NVIDIA driver",
        "SGLang sees no GPU: give the machine or the container one (docker run --gpus all)",
    ),
    *LIBRARY_CAUSES,
    Cause(
        r"scheduler died during initialization \(exit code: -9\)",
        "one of SGLang's processes was killed while it loaded MODEL_NAME={MODEL_NAME}: the machine may have run out of "
        "memory (not the GPU's)",
    ),
)

DIAGNOSTICS = Diagnostics(
    LogFormat((r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\]]*\] (?:(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):?\s+)?",)),
    _CAUSES,
)

_VALIDATION = re.compile(r"'loc': \((?P<place>[^)]*)\), 'msg': (?P<quote>['\"])(?P<what>.*?)(?P=quote)[,}]")
"""Of a request that its models refuse it tells pydantic's errors as Python, and the path of its own source file."""

_FIELDS = (
    ("n should be", "n"),
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("top_k", "top_k"),
    ("min_p", "min_p"),
    ("logit_bias", "logit_bias"),
    ("JSON schema", "response_format"),
    ("json_schema", "response_format"),
    ("regex", "regex"),
    ("ebnf", "ebnf"),
)


def normalise(status: int, body: bytes) -> APIError:
    """SGLang's error as one of OpenAI's. Its prompts that are too long have OpenAI's code."""
    # The name is that of its adapters' errors.
    error = from_upstream(status, body.replace(b'"error_message":', b'"message":'))
    if invalid := _VALIDATION.search(error.message):
        error.param = ".".join(re.findall(r"\w+", invalid["place"])[1:]) or None
        error.message = f"{invalid['what']}: '{error.param}'." if error.param else f"{invalid['what']}."
    if status == 400 and ("model's context length" in error.message or "maximum context length" in error.message):
        error.code = "context_length_exceeded"
    if status < 500:
        # Its own words for the type (`BadRequestError`, `400`) are none of OpenAI's.
        error.type = "invalid_request_error"
        error.param = error.param or field_about(error.message, _FIELDS)
    else:
        error.type = "server_error"
    return error
