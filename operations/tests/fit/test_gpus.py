"""Which GPUs do, how many, and what they cost: what must hold for any model and any demand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_models import MODELS, model

from engineroom.hardware import GpuCatalog
from engineroom.memory import MemoryProfile
from engineroom_fastdeploy import FastDeployEngine
from engineroom_llamacpp import LlamaCppEngine
from engineroom_max import MAXEngine
from engineroom_operations.fit import Demand, FitError, fit_gpu, fit_gpus, fitting_pools
from engineroom_transformers import TransformersEngine
from engineroom_vllm import VLLMEngine

CATALOG = GpuCatalog.load()
NVIDIA = [gpu for gpu in CATALOG.gpus if gpu.manufacturer == "NVIDIA"]
PROFILES = [
    engine.memory
    for engine in (VLLMEngine, LlamaCppEngine, FastDeployEngine, MAXEngine, TransformersEngine)
    if engine.memory is not None
]
VLLM = PROFILES[0]


def card(name: str):  # type: ignore[no-untyped-def]
    return CATALOG.matching(name)[0]


def test_every_engine_that_loads_models_says_how_it_uses_memory() -> None:
    assert len(PROFILES) == 5


models = st.sampled_from(sorted(MODELS))
gpus = st.sampled_from(NVIDIA)
profiles = st.sampled_from(PROFILES)


@settings(max_examples=150, deadline=None)
@given(models, gpus, profiles, st.integers(1, 4096), st.integers(1, 32))
def test_what_is_stated_fits_and_no_more(
    name: str, gpu: object, profile: MemoryProfile, context: int, requests: int
) -> None:
    demand = Demand(context, requests)
    fit = fit_gpu(model(name), profile, gpu, demand)  # type: ignore[arg-type]
    if not fit.fits:
        assert fit.reason
        assert fit.usd_per_million_tokens is None
        return
    assert fit.need is not None
    assert fit.need.total_bytes <= fit.budget_bytes
    assert fit.max_context_tokens >= context or fit.max_context_tokens % profile.block_tokens == 0
    longest = replace(demand, context_tokens=max(1, fit.max_context_tokens))
    assert fit_gpu(model(name), profile, gpu, longest, fit.gpus).fits  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(models, gpus, st.integers(1, 4096))
def test_more_is_never_easier(name: str, gpu: object, context: int) -> None:
    one = fit_gpu(model(name), VLLM, gpu, Demand(context))  # type: ignore[arg-type]
    more = fit_gpu(model(name), VLLM, gpu, Demand(context, 8))  # type: ignore[arg-type]
    assert one.fits or not more.fits
    assert one.max_context_tokens >= more.max_context_tokens or one.gpus < more.gpus


def test_the_fewest_gpus_that_suffice_are_taken() -> None:
    small = fit_gpu(model("Llama-3.1-8B"), VLLM, card("RTX 4090"), Demand(8192))
    large = fit_gpu(model("Llama-3.1-70B"), VLLM, card("H100 SXM"), Demand(8192))
    assert (small.gpus, large.gpus) == (1, 2)
    assert large.pod_usd_per_hour == pytest.approx(2 * (card("H100 SXM").secure_usd or 0))


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(FitError, match="28 attention heads cannot be divided by 8"):
        fit_gpu(model("Qwen2.5-7B-AWQ"), VLLM, card("L4"), Demand(8192), 8)
    with pytest.raises(FitError, match="at most 8 GPUs"):
        fit_gpu(model("Llama-3.1-70B"), VLLM, card("L4"), Demand(8192), 16)
    with pytest.raises(FitError, match="a context of 131,072 tokens, not 131,073"):
        fit_gpu(model("Llama-3.1-8B"), VLLM, card("L4"), Demand(131_073))


def test_a_gpu_that_is_too_old_is_named() -> None:
    fit = fit_gpu(model("Qwen3-4B"), VLLM, card("V100 SXM2 32GB"), Demand(4096))
    assert fit.reason == "the engine needs compute capability 7.5, and it has 7.0"


def test_rows_are_in_order_of_their_price() -> None:
    fits = fit_gpus(model("Qwen3-32B-AWQ"), VLLM, NVIDIA, Demand(8192))
    prices = [fit.pod_usd_per_hour for fit in fits if fit.fits and fit.pod_usd_per_hour is not None]
    assert prices == sorted(prices)
    assert [fit.fits for fit in fits] == sorted((fit.fits for fit in fits), reverse=True)


def test_pools_hold_only_what_fits_whichever_gpu_comes() -> None:
    pools = fitting_pools(model("Qwen3-32B-AWQ"), VLLM, CATALOG, Demand(16384))
    assert pools
    for pool in pools:
        taken = [gpu for gpu in CATALOG.pools[pool.pool] if gpu.id not in pool.excluded]
        assert taken
        assert all(fit_gpu(model("Qwen3-32B-AWQ"), VLLM, gpu, Demand(16384), pool.gpus).fits for gpu in taken)
    prices = [pool.serverless_usd_per_hour for pool in pools if pool.serverless_usd_per_hour is not None]
    assert prices == sorted(prices)


def test_eight_bits_of_cache_double_the_context() -> None:
    usual = fit_gpu(model("Llama-3.1-8B"), VLLM, card("L4"), Demand(4096))
    small = fit_gpu(model("Llama-3.1-8B"), VLLM, card("L4"), Demand(4096, cache_type="fp8"))
    assert small.max_context_tokens == pytest.approx(2 * usual.max_context_tokens, rel=0.01)
