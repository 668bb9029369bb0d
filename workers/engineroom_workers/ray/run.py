"""`engineroom ray`, from settings that are read to the end at a signal."""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from engineroom import plugins
from engineroom.errors import EngineStartError, Problem, SettingsError
from engineroom.plugins import Setup

from ..http.server import listen
from ..http.settings import is_loopback, url_at
from .cluster import cluster_at, own_cluster
from .deployment import NAME, check_resources, deployment, deployment_options
from .options import RayOptions
from .proxies import Proxies

logger = logging.getLogger(__name__)

_REASON = re.compile(r"engineroom\.errors\.\w+: (.+)")
"""Why a replica could not start, in the traceback that Serve hands on."""
_DELETE_S = 15
"""Seconds that Serve may take beside the time that a replica has for its end."""
_REPLICA_LOGS = {"RAY_SERVE_LOG_TO_STDERR": "1"}
"""Replicas' lines come to this terminal; Serve's own processes write into Ray's folder of logs alone."""


def run(setup: Setup[RayOptions]) -> None:
    """Deploy the application, and serve until SIGTERM or SIGINT; a second signal ends it at once.

    Raises:
        SettingsError: the address cannot be had, or the cluster has no room for a replica.
        EngineStartError: no replica could start its engine.
    """
    stop = threading.Event()
    port = _port(setup.door)
    try:
        _on_signals(_interrupt)
        with chosen_cluster(setup):
            _on_signals(_interrupt)  # Ray has set its own.
            proxies = _start_serve(setup, port)
            try:
                _deploy(setup)
                _on_signals(lambda *_: stop.set())
                _announce(setup, proxies)
                stop.wait()
            finally:
                _on_signals(_interrupt)
                _delete(setup)
    except KeyboardInterrupt:
        logger.warning("ended at once, at a signal before it was ready, or at a second one")


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have SIGTERM and SIGINT handled so, from now on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def chosen_cluster(setup: Setup[RayOptions]) -> AbstractContextManager[None]:
    """The cluster at RAY_ADDRESS, or one of our own; neither is touched yet."""
    options = setup.door
    address = options.ray.ray_address
    if address is not None:
        options.log_of_no_effect(setup.env, ("LAME_DUCK",))
        return cluster_at(address)
    return own_cluster(options.http.http.on_loopback, options.http.http.lame_duck)


def _port(options: RayOptions) -> int:
    """The port to listen on: PORT, or a free one with PORT=0.

    Raises:
        SettingsError: it cannot be had, which HAProxy would say only in a log of Ray's.
    """
    http = options.http.http
    if options.ray.ray_address is not None:
        if not http.port:
            raise SettingsError(
                [Problem("PORT", "0 takes a free port of this machine, and RAY_ADDRESS may have others")]
            )
        return http.port
    sockets = listen(http)
    port: int = sockets[0].getsockname()[1]
    for socket in sockets:
        socket.close()
    return port


def _start_serve(setup: Setup[RayOptions], port: int) -> Proxies:
    """Start Serve, where it does not run yet, with its proxies as HOST, PORT and UVICORN_TIMEOUT_KEEP_ALIVE say; as
    they really are.

    Raises:
        SettingsError: the cluster is this machine alone, and has no room for the replicas.
    """
    import ray
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    options = setup.door
    http = options.http.http
    if options.ray.ray_address is None:
        resources = ray.cluster_resources()
        wanted = deployment_options(setup, resources.get("GPU", 0))
        check_resources(wanted, max(1, options.ray.replicas), resources)
    proxies = Proxies(http.host, port, http.uvicorn_timeout_keep_alive)
    serve.start(http_options=proxies.http_options())
    running = Proxies.running() or proxies
    running.log_differences(proxies, options, setup.env)
    return running


def _deploy(setup: Setup[RayOptions]) -> None:
    """Deploy the application, and wait until it serves.

    Raises:
        EngineStartError: no replica could start its engine.
    """
    from ray import serve

    try:
        serve.run(deployment(setup, carried(setup), _REPLICA_LOGS), name=NAME, route_prefix="/")
    except RuntimeError as error:
        raise EngineStartError(_reason(error), logged=True) from error


def _reason(error: RuntimeError) -> str:
    """Why no replica could start: what its own error says, else all that Serve knows."""
    from ray import serve

    application = serve.status().applications.get(NAME)
    deployments = application.deployments.values() if application is not None else ()
    messages = "\n".join([*(each.message for each in deployments), str(error)])
    own = _REASON.search(messages)
    return own[1].strip() if own is not None else messages.strip()


def carried(setup: Setup[RayOptions]) -> dict[str, str]:
    """The settings that are in force here, for replicas anywhere: whatever is not at its default."""
    settings: dict[str, str] = {}
    for choice in setup.choices:
        for group in plugins.settings_groups(choice.engine, setup.env):
            for setting in group.describe():
                value, source = setting.in_force(setup.env)
                if value and not source.startswith("default"):
                    settings[setting.name] = value
    settings["HOST"] = "127.0.0.1" if _is_local(setup.door) else "0.0.0.0"
    return settings


def _is_local(options: RayOptions) -> bool:
    """Whether only programs on this machine reach the proxies."""
    return options.ray.ray_address is None and options.http.http.on_loopback


def _delete(setup: Setup[RayOptions]) -> None:
    """Have Serve end the replicas, and wait for that as long as it may take them."""
    from ray import serve

    drain_timeout = setup.door.http.door.drain_timeout
    logger.info("stopping: running requests have %g s to finish; another signal ends them at once", drain_timeout)
    # A cluster that has lost its head never answers.
    deleting = threading.Thread(target=serve.delete, args=(NAME,), daemon=True)
    deleting.start()
    deleting.join(deployment_options(setup, 0)["graceful_shutdown_timeout_s"] + _DELETE_S)
    if deleting.is_alive():
        logger.warning("Ray has not ended the replicas in time; what is left of them ends with the cluster")


def _announce(setup: Setup[RayOptions], proxies: Proxies) -> None:
    options = setup.door
    if not options.http.locked and not is_loopback(proxies.host):
        logger.warning(
            "anyone who reaches the cluster may use the model: Serve listens on %s, and no API_KEYS", proxies.host
        )
    replicas: Any = options.ray.replicas
    if options.ray.max_replicas is not None:
        replicas = f"{replicas} to {options.ray.max_replicas}"
    url = url_at(proxies.host, proxies.port)
    logger.info("ready: %s serves %s on %s (replicas: %s)", setup.engine.name, setup.engine.served, url, replicas)
