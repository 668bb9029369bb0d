"""All of the door's settings, read together, with those of the HTTP door that have a meaning under Serve."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from typing_extensions import Self

from engineroom.errors import Problem, Problems
from engineroom.settings import Environment, NameCheck, WorkerSettings

from ..http.options import Options
from .settings import RaySettings

logger = logging.getLogger(__name__)

DOORS = ("ray", "http")
"""Whose settings count here: its own, and those of the HTTP door, whose layers every replica has."""

_NOT_HERE = {
    "PORT_HEALTH": "Serve listens on one port, and answers balancers there at /-/healthz: unset it",
    "UVICORN_SSL_CERTFILE": "Serve's proxies are what clients connect to: let a balancer in front of them do TLS, or "
    "give `ssl_certfile` in the http_options of Serve's own configuration (without RAY_SERVE_ENABLE_HA_PROXY)",
    "CLIENT_TIMEOUT": "Serve's proxies keep the connections: set RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S where Ray is "
    "started",
    "DOOR_PROCESSES": "Serve's proxies speak HTTP with clients, and REPLICAS spread the work over processes: unset it",
}
"""Settings of the HTTP door that nothing can grant here -> what to do instead."""

_OF_THE_CLUSTER = {
    "HOST": "`host` in the http_options of Serve's configuration",
    "PORT": "`port` in the http_options of Serve's configuration",
    "UVICORN_TIMEOUT_KEEP_ALIVE": "`keep_alive_timeout_s` in the http_options of Serve's configuration",
    "LAME_DUCK": "the variable RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S of all of Ray's processes",
}
"""Settings that are for whoever starts the cluster -> what they are called there."""


class RayOptions(NamedTuple):
    """The settings that the door goes by."""

    http: Options
    ray: RaySettings

    @classmethod
    def load(cls, worker: WorkerSettings, env: Environment, names: NameCheck) -> Self:
        """Read the door's settings.

        Raises:
            SettingsError: with what is wrong in any of them.
        """
        problems = Problems()
        ray = RaySettings.load_valid(env, problems)
        problems.extend(
            Problem(name, f"is of no effect under Ray Serve. {remedy}", env.source(name))
            for name, remedy in _NOT_HERE.items()
            if name in env
        )
        options: list[Options] = problems.collect(lambda: [Options.load(worker, env, names)], [])
        problems.check()
        return cls(options[0], ray)

    def log_of_no_effect(self, env: Environment, names: Iterable[str] = tuple(_OF_THE_CLUSTER)) -> None:
        """Warn of settings that only whoever starts the cluster could grant: of those of `names` that are set."""
        for name in names:
            theirs = _OF_THE_CLUSTER[name]
            if name in env:
                logger.warning(
                    "%s=%s (from %s) is of no effect here: it is %s", name, env[name], env.source(name), theirs
                )
