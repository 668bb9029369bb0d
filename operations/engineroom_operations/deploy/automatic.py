"""`kind: auto`: a pod or a queue endpoint, whichever serves the traffic at the lower price."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from engineroom.errors import Problem, SettingsError
from engineroom.hardware import CatalogError, CatalogGpu, GpuCatalog
from engineroom.runpod_account import DeploymentKind

from ..catalog.current import with_offers
from ..fit.gpus import fit_gpus
from ..runpod_api.client import RunPodClient
from ..traffic.decision import TrafficDecision, TrafficRules, decide
from ..traffic.offers import assumed_cold_start_seconds, pod_offer, serverless_offer
from ..traffic.pattern import TrafficPattern, load, parse_hours
from .deployment_file import DeploymentFile
from .engine_settings import EngineSettings, demand_of, look_up


class KindChoice(NamedTuple):
    """What is to be made, and why, for people."""

    kind: DeploymentKind
    reason: str


async def choose_kind(api: RunPodClient, file: DeploymentFile, settings: EngineSettings) -> KindChoice:
    """What to make of `auto`.

    Raises:
        SettingsError: there is no traffic from which it could be told, or the model fits on nothing.
        TrafficError: the traffic cannot be read.
    """
    if file.traffic is None:
        message = "auto needs `traffic`: requests by the hour (`9-17:300,17-9:5`), or a file with the pattern"
        raise SettingsError([Problem("kind", message)])
    profile = settings.engine.memory
    if profile is None or not settings.model:
        message = "auto needs a model, and an engine that says how it uses a GPU's memory: name pod, queue or another"
        raise SettingsError([Problem("kind", message)])
    pattern = _pattern(file.traffic)
    model = settings.memory or look_up(settings.model, settings.env)
    catalog = with_offers(GpuCatalog.load(), await api.gpus("SERVERLESS"))
    fits = fit_gpus(model, profile, _wanted(file, catalog), demand_of(model, settings))
    rules = TrafficRules(assumed_cold_start_seconds(model), file.workers.idle_timeout)
    decision = decide(pattern, pod_offer(model, fits, pattern), serverless_offer(model, fits, pattern), rules)
    return _choice(decision)


def _choice(decision: TrafficDecision) -> KindChoice:
    if decision.mode == "pod" and decision.pods > 1:
        # One deployment is one pod; an endpoint has as many workers as it takes.
        return KindChoice("queue", f"the busiest hour needs {decision.pods} pods, and an endpoint scales by itself")
    return KindChoice("pod" if decision.mode == "pod" else "queue", decision.reason)


def _pattern(traffic: str) -> TrafficPattern:
    path = Path(traffic).expanduser()
    return load(path) if path.exists() else TrafficPattern(parse_hours(traffic))


def _wanted(file: DeploymentFile, catalog: GpuCatalog) -> list[CatalogGpu]:
    """The GPUs that the file names, or all that are for rent."""
    if not file.gpu:
        return [gpu for gpu in catalog.gpus if gpu.manufacturer == "NVIDIA"]
    try:
        return list({gpu.id: gpu for name in file.gpu for gpu in catalog.matching(name)}.values())
    except CatalogError as error:
        raise SettingsError([Problem("gpu", str(error))]) from None
