"""Tensor parallelism: the other ranks, processes that do as the first one's batch tells them."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom.server import free_port

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from .settings import TransformersSettings


class Ranks:
    """The processes beside this one. They are daemons: they end with it, and by themselves when it is killed."""

    def __init__(self, settings: TransformersSettings) -> None:
        self._processes: list[BaseProcess] = []
        self._settings = settings

    def start(self, where: Path) -> None:
        """Start them, each with the model that is there, and make this process the first of the group."""
        size = self._settings.tensor_parallel_size
        port = free_port()
        for rank in range(1, size):
            arguments = (rank, size, port, where, self._settings)
            process = multiprocessing.get_context("spawn").Process(target=_follow, args=arguments, daemon=True)
            process.start()
            self._processes.append(process)
        _join_group(0, size, port)

    def stop(self, grace: float = 10) -> None:
        for process in self._processes:
            process.join(grace)
            process.kill()
            process.join()
        self._processes.clear()


def _join_group(rank: int, size: int, port: int) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})


def _follow(rank: int, size: int, port: int, where: Path, settings: TransformersSettings) -> None:
    from .batching import ContinuousBatch
    from .loading import load
    from .vocabulary import Vocabulary

    _join_group(rank, size, port)
    loaded = load(where, settings)
    ContinuousBatch(loaded.model, Vocabulary(loaded), settings).thread.join()
