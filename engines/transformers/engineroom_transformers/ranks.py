"""Tensor parallelism: the other ranks, processes that do as the first one's batch tells them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom.errors import EngineStartError
from engineroom.hardware import gpus
from engineroom.server import free_port

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from .settings import TransformersSettings


_EXIT_S = 5.0
"""How long it takes at most from when a process is seen to have ended until its exit code can be had."""


class Ranks:
    """The processes beside this one. They are daemons: they end with it, and by themselves when it is killed."""

    def __init__(self, settings: TransformersSettings) -> None:
        self._processes: list[BaseProcess] = []
        self._settings = settings
        self._ending = False

    def check(self, environ: Mapping[str, str]) -> None:
        """Look whether this machine has a GPU for each, before anything is loaded.

        Raises:
            EngineStartError: it has not, or DEVICE names a single one.
        """
        size = self._settings.tensor_parallel_size
        device = self._settings.device
        if size == 1 or device == "cpu":
            return
        if ":" in device:
            raise EngineStartError(
                f"DEVICE={device} is one GPU, and TENSOR_PARALLEL_SIZE={size} needs {size}: leave DEVICE out, and "
                "choose among GPUs by CUDA_VISIBLE_DEVICES"
            )
        here = gpus.count(environ)
        if 0 < here < size:
            raise EngineStartError(
                f"TENSOR_PARALLEL_SIZE={size} needs {size} GPUs, and here {'is one' if here == 1 else f'are {here}'}: "
                "lower it, or take a machine with more"
            )

    def start(self, where: Path, lost: Callable[[str], None]) -> None:
        """Start them, each with the model that is there, and make this process the first of the group.

        Args:
            lost: called from a thread, with the reason, when one of them ends before `release`. The others would wait
                for it.
        """
        size = self._settings.tensor_parallel_size
        port = free_port()
        for rank in range(1, size):
            arguments = (rank, size, port, where, self._settings)
            process = multiprocessing.get_context("spawn").Process(target=_follow, args=arguments, daemon=True)
            process.start()
            self._processes.append(process)
        threading.Thread(target=self._watch, args=(lost,), name="transformers-ranks", daemon=True).start()
        _join_group(0, size, port)

    def _watch(self, lost: Callable[[str], None]) -> None:
        processes = list(self._processes)
        ended = wait([process.sentinel for process in processes])
        if self._ending:
            return
        rank, process = next(each for each in enumerate(processes, 1) if each[1].sentinel in ended)
        process.join(_EXIT_S)  # Its end is seen a moment before its exit code.
        lost(
            f"rank {rank} of TENSOR_PARALLEL_SIZE={len(processes) + 1} ended by itself, with {process.exitcode}: "
            "what it said is in the log"
        )

    def release(self) -> None:
        """Let them end: from now on nobody waits for one that has."""
        self._ending = True

    def stop(self, grace: float = 10) -> None:
        self.release()
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
