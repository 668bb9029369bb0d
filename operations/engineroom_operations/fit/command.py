"""`engineroom fit`: does a model fit, on which GPUs, and what does that cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engineroom.engine import Engine
    from engineroom.hardware import CatalogGpu, GpuCatalog
    from engineroom.memory import MemoryProfile
    from engineroom.settings import Environment

    from .reading import ModelMemory

_USUAL_CONTEXT = 8192
_K = 1024


def token_count(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Tokens, as `32768` or `32k`, for an option.

    Raises:
        click.BadParameter: it is something else.
    """
    if value is None:
        return None
    text = value.strip().lower()
    digits = text.removesuffix("k").replace(",", "").replace("_", "")
    tokens = int(digits) * (_K if text.endswith("k") else 1) if digits.isdecimal() else 0
    if tokens < 1:
        raise click.BadParameter(f"{value} is no number of tokens, such as 32768 or 32k")
    return tokens


@click.command()
@click.argument("model")
@click.option("--gpu", "names", multiple=True, metavar="NAME", help="Only this GPU or pool; may be repeated.")
@click.option("--engine", metavar="NAME", help="The engine that is to serve it.  [default: the best for its format]")
@click.option(
    "--context",
    callback=token_count,
    metavar="TOKENS",
    help="Tokens of a request, prompt and answer.  [default: 8k, or the model's]",
)
@click.option(
    "--concurrency", "requests", type=click.IntRange(1), default=1, show_default=True, help="Requests at a time."
)
@click.option(
    "--tensor-parallel",
    "--gpus",
    "gpus",
    type=click.IntRange(1),
    help="GPUs that share the model.  [default: the fewest that suffice]",
)
@click.option("--kv-cache-dtype", "--cache-type", "cache_type", default="", help="The type of the cache, e.g. fp8.")
@click.option(
    "--quantization",
    "at_load",
    type=click.Choice(["fp8", "bitsandbytes"]),
    help="Quantise it while loading; what is quantised already needs none.",
)
@click.option(
    "--memory-share",
    "share",
    type=click.FloatRange(0, 1, min_open=True),
    help="The part of a GPU that the engine may take.  [default: the engine's]",
)
@click.option("--revision", help="A branch, tag or commit of the repository.  [default: main]")
@click.option("--all", "everything", is_flag=True, help="Show every GPU.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def fit(
    model: str,
    names: Sequence[str],
    engine: str | None,
    context: int | None,
    requests: int,
    gpus: int | None,
    cache_type: str,
    at_load: str | None,
    share: float | None,
    revision: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Say on which of RunPod's GPUs a model fits, and what that costs, before anything is downloaded.

    MODEL is a repository of the Hugging Face Hub, its address, a folder, or a GGUF file; of several GGUF files
    `org/name:Q8_0` names one. Only the headers of its files are read.

    \b
        engineroom fit Qwen/Qwen3-8B
        engineroom fit Qwen/Qwen3-32B-AWQ --context 32k --concurrency 8
        engineroom fit unsloth/Qwen3-8B-GGUF:Q8_0 --gpu 4090 --gpu L4

    With RUNPOD_API_KEY prices are RunPod's of today, else recorded ones. Exits with 1 if the model fits nowhere.
    """
    import asyncio
    import json
    import sys

    from engineroom.runpod_account import RunPodAccount
    from engineroom.settings import Environment

    from ..catalog.current import current
    from .errors import FitError
    from .gpus import fit_gpus
    from .memory import Demand
    from .report import FitReport
    from .throughput import ThroughputAssumptions

    env = Environment.load()
    read = _read(model, revision, at_load or "", env)
    chosen, profile = _engine(engine or env.get("ENGINE", ""), read, env)
    if cache_type and cache_type not in profile.cache_types:
        raise FitError(f"{chosen} has no cache of the type {cache_type}; it has {', '.join(profile.cache_types)}")
    limit = read.architecture.context_tokens
    demand = Demand(context or min(_USUAL_CONTEXT, limit or _USUAL_CONTEXT), requests, cache_type, share)
    prices = asyncio.run(current(RunPodAccount.load(env)))
    report = FitReport(
        model=read,
        engine=chosen,
        profile=profile,
        demand=demand,
        fits=fit_gpus(read, profile, _wanted(prices.catalog, names), demand, gpus),
        named=bool(names),
        everything=everything,
        prices=prices.note,
        assumed=ThroughputAssumptions(),
    )
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        from engineroom.commands.screen import console

        report.show(console())
    if not any(each.fits for each in report.fits):
        sys.exit(1)


def _read(model: str, revision: str | None, at_load: str, env: Environment) -> ModelMemory:
    import os

    from .reading import read_model

    names = ("HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE")
    return read_model(model, revision, at_load, {**os.environ, **{name: env[name] for name in names if name in env}})


def _engine(name: str, model: ModelMemory, env: Environment) -> tuple[str, MemoryProfile]:
    """The engine and its memory profile: the one that is named, else the best for the format of the weights."""
    from engineroom import plugins
    from engineroom.errors import PluginError

    from .errors import FitError

    engines: Mapping[str, type[Engine]] = plugins.loadable(env)
    if name:
        if name not in engines:
            raise PluginError(f"no engine called {name!r} is installed (installed: {', '.join(engines) or 'none'})")
        profile = engines[name].memory
        if profile is None:
            raise FitError(f"{name} does not say how it uses a GPU's memory; name another engine")
        if model.format not in engines[name].model_formats:
            raise FitError(f"{name} does not load {model.format} weights, which {model.name} has")
        return name, profile
    able = [key for key, each in engines.items() if each.memory is not None and model.format in each.model_formats]
    if not able:
        raise FitError(f"no engine that is installed loads {model.format} weights and says how it uses a GPU's memory")
    best = min(able, key=lambda key: (engines[key].model_formats.index(model.format), engines[key].preference, key))
    profile = engines[best].memory
    assert profile is not None
    return best, profile


def _wanted(catalog: GpuCatalog, names: Sequence[str]) -> Sequence[CatalogGpu]:
    """The GPUs that are named, each once; without a name, all that are for rent."""
    if names:
        return list({gpu.id: gpu for name in names for gpu in catalog.matching(name)}.values())
    priced = [gpu for gpu in catalog.gpus if gpu.pod_usd is not None or gpu.serverless_usd is not None]
    return [gpu for gpu in priced if gpu.manufacturer == "NVIDIA"]
