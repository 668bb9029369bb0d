"""The deployment: a replica's class, bound to its settings, with the options that follow from these."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from engineroom.errors import Problem, SettingsError
from engineroom.plugins import Setup

from .needs import ReplicaNeeds, needs_of
from .options import RayOptions

if TYPE_CHECKING:
    from ray.serve import Application

logger = logging.getLogger(__name__)

NAME = "engineroom"
"""The deployment's name, and the application's where `engineroom ray` deploys it."""

_SPARE_REQUESTS = 64
"""Requests beside those of the concurrency limit and its queue that a replica takes: lists of models, metrics, and
those that are refused."""
_MANY_REQUESTS = 10_000
"""Requests that a replica takes where there is no limit: whoever wants one sets MAX_CONCURRENT_REQUESTS, whose queue
knows priorities, sends heartbeats and refuses in OpenAI's form."""
_USUAL_CONCURRENCY = 16
"""Requests that an engine works on at the same time where it does not say."""
_BUSY = 0.75
"""The share of its concurrency at which a replica counts as busy: there is room while another one loads."""

_CHECK_PERIOD_S = 2
"""Serve replaces a replica after three failed checks in a row."""
_CHECK_TIMEOUT_S = 30
_CLOSE_S = 10
"""Seconds that a replica has, beside the time for its requests and its engine, before Ray kills it."""
_START_TRIES = 3

_REPLICA_ENVIRONMENT = {
    # An engine and Serve's own calls share a loop: a thread between them would cost a switch for each token.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
_DEREGISTRATION = "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"


def deployment(
    setup: Setup[RayOptions], settings: Mapping[str, str], environment: Mapping[str, str] = MappingProxyType({})
) -> Application:
    """The application of one deployment.

    Args:
        setup: what was read here.
        settings: what goes before each replica's own environment.
        environment: variables of Ray's for each replica.

    Raises:
        SettingsError: the cluster will never have what a replica needs.
    """
    from ray import serve

    from .replica import Replica

    options = deployment_options(setup, _cluster_gpus())
    options["ray_actor_options"]["runtime_env"]["env_vars"].update(environment)
    # Without an app: each replica makes its own, which is never pickled.
    return serve.deployment(serve.ingress()(Replica), **options).bind(dict(settings))


def deployment_options(setup: Setup[RayOptions], cluster_gpus: float) -> dict[str, Any]:
    """The options of `@serve.deployment`. Serve's own configuration may override each of them.

    Args:
        cluster_gpus: the GPUs that the cluster has now.
    """
    options = setup.door
    needs = needs_of(setup.choices)
    limits = options.http.limits
    limit = limits.max_concurrent_requests
    concurrency = limit or needs.concurrency or _USUAL_CONCURRENCY
    drain = options.http.door.drain_timeout + float(os.environ.get(_DEREGISTRATION) or 30)
    scaling: dict[str, Any] = {"num_replicas": options.ray.replicas}
    if options.ray.max_replicas is not None:
        scaling = {
            "autoscaling_config": {
                "min_replicas": options.ray.replicas,
                "max_replicas": options.ray.max_replicas,
                "target_ongoing_requests": max(1.0, _BUSY * concurrency),
            }
        }
    return {
        "name": NAME,
        "max_ongoing_requests": limit + limits.queue_length + _SPARE_REQUESTS if limit else _MANY_REQUESTS,
        "health_check_period_s": _CHECK_PERIOD_S,
        "health_check_timeout_s": _CHECK_TIMEOUT_S,
        "graceful_shutdown_timeout_s": drain + setup.worker.stop_timeout + _CLOSE_S,
        "graceful_shutdown_wait_loop_s": 1,
        "max_constructor_retry_count": _START_TRIES,
        "logging_config": {"enable_access_log": False},
        "ray_actor_options": {
            "num_cpus": options.ray.cpus_per_replica,
            "num_gpus": _gpus(options, needs, cluster_gpus),
            "runtime_env": {"env_vars": dict(_REPLICA_ENVIRONMENT)},
        },
        **scaling,
    }


def _gpus(options: RayOptions, needs: ReplicaNeeds, cluster_gpus: float) -> float:
    """GPUs for a replica: what is set; else what the engine asks for, but none where it can do without and there is
    none."""
    if options.ray.gpus_per_replica is not None:
        return options.ray.gpus_per_replica
    if needs.gpus > 1 or not needs.gpus or cluster_gpus:
        return needs.gpus
    logger.info("the cluster has no GPU now: replicas get none (GPUS_PER_REPLICA=1 waits for one)")
    return 0


def _cluster_gpus() -> float:
    """The GPUs that the cluster has now; 0 where no cluster runs yet."""
    import ray

    return float(ray.cluster_resources().get("GPU", 0)) if ray.is_initialized() else 0.0


def check_resources(options: Mapping[str, Any], replicas: int, resources: Mapping[str, float]) -> None:
    """That a machine which is the whole cluster has room for the replicas: Ray would wait for others for ever.

    Args:
        replicas: that are to run at once.
        resources: the machine's, by Ray's names.

    Raises:
        SettingsError: it has not.
    """
    actor = options["ray_actor_options"]
    for variable, resource, each in (
        ("GPUS_PER_REPLICA", "GPU", actor["num_gpus"]),
        ("CPUS_PER_REPLICA", "CPU", actor["num_cpus"]),
    ):
        there = resources.get(resource, 0)
        if each * replicas > there:
            message = (
                f"{replicas} replicas need {each * replicas:g} {resource}s, and this machine has {there:g} for Ray"
            )
            raise SettingsError([Problem(variable, message)])
