"""Jobs of a queue: what they ask for, how they are generated, and how a stream is cut into items."""

from __future__ import annotations

from .batching import BatchSize, Pace, batched, drained
from .generate import Delta, GenerateRequest, generate, request_headers
from .input import APICall, BatchingOptions, JobDefaults, JobInput, OutputFormat, wants_stream
from .output import as_body, as_events

__all__ = [
    "APICall",
    "BatchSize",
    "BatchingOptions",
    "Delta",
    "GenerateRequest",
    "JobDefaults",
    "JobInput",
    "OutputFormat",
    "Pace",
    "as_body",
    "as_events",
    "batched",
    "drained",
    "generate",
    "request_headers",
    "wants_stream",
]
