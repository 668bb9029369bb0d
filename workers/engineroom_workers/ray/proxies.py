"""Serve's proxies: where they listen, and for how long they keep an idle connection."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from engineroom.settings import Environment

from .options import RayOptions

logger = logging.getLogger(__name__)


class Proxies(NamedTuple):
    """What Serve's proxies go by. It is set where Serve starts, and stays so for as long as Serve runs.

    keep_alive_s: seconds.
    """

    host: str
    port: int
    keep_alive_s: int

    @classmethod
    def running(cls) -> Proxies | None:
        """Those of the Serve that runs; None where this Ray does not say. There is no public way to find out."""
        try:
            from ray.serve.context import _get_global_client

            config = _get_global_client().http_config
            return cls(str(config.host), int(config.port), int(config.keep_alive_timeout_s))
        except (ImportError, AttributeError, TypeError, ValueError):
            return None

    def http_options(self) -> dict[str, Any]:
        """For Serve's start."""
        return {"host": self.host, "port": self.port, "keep_alive_timeout_s": self.keep_alive_s}

    def log_differences(self, wanted: Proxies, options: RayOptions, env: Environment) -> None:
        """Warn of what has been wanted, and is not so with these, since Serve ran already."""
        if (self.host, self.port) != (wanted.host, wanted.port):
            logger.warning(
                "Serve runs on this cluster already, and listens on %s:%d: HOST=%s and PORT=%d are of no effect",
                self.host,
                self.port,
                wanted.host,
                wanted.port,
            )
        if self.keep_alive_s != wanted.keep_alive_s:
            options.log_of_no_effect(env, ("UVICORN_TIMEOUT_KEEP_ALIVE",))
