"""Jobs of a queue: what they ask for, how they are generated, and how a stream is cut into items."""

from __future__ import annotations

from .batching import BatchSize, Pump, Source, batched, drained
from .generate import Delta, GenerateRequest, Usage, generate
from .input import Batching, Call, JobInput, OutputFormat, wants_stream
from .pacing import Pace

__all__ = [
    "BatchSize",
    "Batching",
    "Call",
    "Delta",
    "GenerateRequest",
    "JobInput",
    "OutputFormat",
    "Pace",
    "Pump",
    "Source",
    "Usage",
    "batched",
    "drained",
    "generate",
    "wants_stream",
]
