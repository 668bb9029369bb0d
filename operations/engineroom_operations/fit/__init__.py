"""Does a model fit: weights, cache and the engine's own needs against GPUs' memory, before anything is downloaded.

`read_model` reads a model's size and shape; `fit_gpu`, `fit_gpus` and `fitting_pools` compare it with GPUs, as pure
functions of what was read.
"""

from __future__ import annotations

from .architecture import Architecture, CacheKind, CacheLayers
from .errors import FitError, ModelReadingError
from .gpus import GpuFit, PoolFit, fit_gpu, fit_gpus, fitting_pools
from .memory import Demand, MemoryNeed, need, request_cache_bytes, step_cache_bytes, token_cache_bytes
from .reading import ModelMemory, read_model
from .throughput import ThroughputAssumptions, answer_tokens_per_second
from .weights import QUANTISED_AT_LOAD, Weights

__all__ = [
    "QUANTISED_AT_LOAD",
    "Architecture",
    "CacheKind",
    "CacheLayers",
    "Demand",
    "FitError",
    "GpuFit",
    "MemoryNeed",
    "ModelMemory",
    "ModelReadingError",
    "PoolFit",
    "ThroughputAssumptions",
    "Weights",
    "answer_tokens_per_second",
    "fit_gpu",
    "fit_gpus",
    "fitting_pools",
    "need",
    "read_model",
    "request_cache_bytes",
    "step_cache_bytes",
    "token_cache_bytes",
]
