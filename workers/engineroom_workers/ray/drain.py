"""The end of a replica: its requests have DRAIN_TIMEOUT, then the engine is stopped, which ends them with an error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from engineroom.engine import RunningEngine

logger = logging.getLogger(__name__)

_LOOK_S = 0.25


class Drain:
    """Watches for Serve's decision to end this replica.

    Serve itself waits for the running requests, without telling the replica, and kills what still runs at
    `graceful_shutdown_timeout_s`: clients would see a broken connection. So the engine is stopped before that.

    Args:
        engine: is stopped where requests still run after `timeout`.
        timeout: seconds, DRAIN_TIMEOUT.
    """

    def __init__(self, engine: RunningEngine, timeout: float) -> None:
        self._engine = engine
        self._timeout = timeout

    async def run(self) -> None:
        """Wait for the end, then for the time that requests have; returns when the engine is stopped."""
        is_ending = _is_ending()
        if is_ending is None:
            logger.warning(
                "this version of Ray does not tell a replica of its end: requests that still run at Serve's "
                "graceful_shutdown_timeout_s are cut off without an error"
            )
            return
        while not is_ending():  # noqa: ASYNC110 - Serve sets a flag, and tells nobody
            await asyncio.sleep(_LOOK_S)
        logger.info("draining: running requests have %g s to finish", self._timeout)
        await asyncio.sleep(self._timeout)
        logger.info("draining has taken %g s: what still runs is ended", self._timeout)
        await self._engine.stop()


def _is_ending() -> Callable[[], bool] | None:
    """Whether Serve has begun to shut this replica down; None where this Ray keeps that elsewhere.

    There is no public way to find out. Ray 2.60 keeps the actor that this process is among its worker's.
    """
    try:
        from ray._private.worker import global_worker

        replica = global_worker.actors[global_worker.actor_id]._replica_impl
        assert isinstance(replica._shutting_down, bool)
    except (ImportError, AttributeError, KeyError, AssertionError):
        return None
    return lambda: bool(replica._shutting_down)
