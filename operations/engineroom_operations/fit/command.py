"""`engineroom fit`: does a model fit, on which GPUs, and what does that cost."""

from __future__ import annotations

from collections.abc import Sequence

import click

from .options import token_count


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
    """Say on which GPUs a model fits, and what they cost.

    Nothing is downloaded for it, and GPUs and prices are RunPod's.

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
    from .asking import engine_profile, look_up, usual_context, wanted_gpus
    from .errors import FitError
    from .gpus import fit_gpus
    from .memory import Demand
    from .report import FitReport
    from .throughput import ThroughputAssumptions

    env = Environment.load()
    read = look_up(model, revision, at_load or "", env)
    chosen, profile = engine_profile(engine or env.get("ENGINE", ""), read, env)
    if cache_type and cache_type not in profile.cache_types:
        raise FitError(f"{chosen} has no cache of the type {cache_type}; it has {', '.join(profile.cache_types)}")
    demand = Demand(context or usual_context(read), requests, cache_type, share)
    prices = asyncio.run(current(RunPodAccount.load(env)))
    report = FitReport(
        model=read,
        engine=chosen,
        profile=profile,
        demand=demand,
        fits=fit_gpus(read, profile, wanted_gpus(prices.catalog, names), demand, gpus),
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
