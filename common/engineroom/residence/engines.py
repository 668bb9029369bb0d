"""The engines behind the models: configured, started, watched, stopped, and the memory that they take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..engine import Capabilities, Engine, Route
from ..errors import APIError, EngineroomError, EngineStartError
from .entries import ModelEntry
from .machine_memory import MachineMemory, give_back, own_memory, wait_for_room
from .residency import NeededMemory

logger = logging.getLogger(__name__)

_ROOM_S = 15.0
"""Seconds that memory may take to come back, before a load and after an unload."""
_BESIDE_WEIGHTS = 1.2
"""What a model takes for each byte of its weights, with cache and buffers, where nothing better is known."""
_SLACK = 64 << 20
"""Bytes that may be missing: nobody counts that exactly."""


@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """A model of the table, with the way to its engine.

    engine: the engine's name.
    make: a configured engine; it may take a second.
    safer: another one with settings that need less memory, after a start that ran out of it; None for none.
    weights: bytes of its weights' files, where they are on this machine; None where they are not.
    gpu_share: the part of the GPUs' memory that its engine takes, whatever the model; None for as much as it needs.
    """

    entry: ModelEntry
    engine: str
    make: Callable[[], Engine]
    safer: Callable[[EngineStartError], Engine | None]
    weights: int | None = None
    gpu_share: float | None = None

    def need(self, gpu_memory: int | None) -> NeededMemory:
        """The memory that it is thought to take before it has been loaded.

        Args:
            gpu_memory: bytes of all GPUs together; None where models are not loaded into GPUs.
        """
        if self.entry.memory is not None:
            return NeededMemory(self.entry.memory, "declared")
        if gpu_memory is not None and self.gpu_share is not None:
            return NeededMemory(int(self.gpu_share * gpu_memory), "estimated")
        if self.weights is not None:
            return NeededMemory(int(self.weights * _BESIDE_WEIGHTS), "estimated")
        return NeededMemory(0, "unknown")


class ShortOfMemoryError(EngineroomError):
    """A load has not begun: so many bytes were `missing`."""

    def __init__(self, reason: str, missing: int) -> None:
        super().__init__(reason)
        self.missing = missing


class LoadedEngine(NamedTuple):
    """A model that is loaded. memory: bytes, where they could be measured."""

    engine: Engine
    memory: int | None


class ModelLoader(Protocol):
    """Loads and unloads models: the effects on the world outside."""

    async def load(self, name: str, memory: int) -> LoadedEngine:
        """Load a model that is thought to need so many bytes. May be cancelled; nothing of it is left then.

        Raises:
            ShortOfMemoryError: the machine has not so much memory free.
            EngineStartError: its engine could not be started.
        """

    async def unload(self, name: str, engine: Engine) -> None:
        """Stop an engine, dead or alive, and wait until its memory is back, a bounded time."""


class ModelFacts(NamedTuple):
    """What an engine has said of its model, kept while none runs."""

    models: tuple[str, ...]
    routes: frozenset[Route]
    served_routes: frozenset[Route]
    capabilities: Capabilities
    sampling_params: frozenset[str]
    death_lag: float
    adapters: tuple[str, ...] = ()

    @classmethod
    def of(cls, engine: Engine) -> ModelFacts:
        """What it says now; for certain once it has started."""
        return cls(
            engine.models,
            engine.routes,
            engine.served_routes,
            engine.capabilities,
            engine.sampling_params,
            engine.death_lag,
        )


class Engines:
    """Loads models by starting engines. One that can sleep is put to sleep instead of stopped, and woken.

    Args:
        models: by name.
        first: an engine of each that is configured already; the first load takes it.
        memory: what the models share.

    unused: the engines that are configured and have not been started.
    """

    def __init__(
        self, models: Mapping[str, ConfiguredModel], first: Mapping[str, Engine], memory: MachineMemory
    ) -> None:
        self._models = models
        self.unused = dict(first)
        self._memory = memory
        self._sizes: dict[str, int] = {}
        self._asleep: dict[str, Engine] = {}
        self._loading = 0
        self._overlaps = 0

    async def close(self) -> None:
        """Stop the engines that sleep."""
        engines = list(self._asleep.values())
        self._asleep.clear()
        await asyncio.gather(*(engine.stop() for engine in engines), return_exceptions=True)

    async def load(self, name: str, memory: int) -> LoadedEngine:
        self._loading += 1
        self._overlaps += self._loading > 1
        overlaps = self._overlaps
        try:
            await self._check_room(name, memory)
            before = await self._memory.read()
            own_before = own_memory()
            engine = await self._woken(name) or await self._started(name)
            alone = self._loading == 1 and self._overlaps == overlaps
            try:
                measured = await self._measured(engine, before and before.free, own_before, alone=alone)
            except asyncio.CancelledError:
                await engine.stop()
                raise
            if measured is not None:
                self._note_size(name, measured)
            return LoadedEngine(engine, measured)
        finally:
            self._loading -= 1

    async def _check_room(self, name: str, memory: int) -> None:
        """Raises ShortOfMemoryError where a model that is known to need it would not get its memory."""
        missing = await wait_for_room(self._memory, memory - _SLACK, _ROOM_S)
        if not missing:
            return
        reading = await self._memory.read()
        free = 0 if reading is None else reading.free
        reason = f"it needs {memory / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free"
        if self._models[name].entry.memory is None and name not in self._sizes and not self._memory.of_gpus:
            # Weights are mostly mapped from their files, and a guess is no reason to refuse.
            logger.warning("%s may be short of memory: %s, as its files' size suggests", name, reason)
            return
        raise ShortOfMemoryError(reason, missing)

    async def _started(self, name: str) -> Engine:
        model = self._models[name]
        engine = self.unused.pop(name, None)
        if engine is None:
            engine = await asyncio.to_thread(model.make)
        try:
            await _start(engine)
            return engine
        except EngineStartError as error:
            safer = await asyncio.to_thread(model.safer, error)
            if safer is None:
                raise
        await _start(safer)
        return safer

    def _note_size(self, name: str, measured: int) -> None:
        declared = self._models[name].entry.memory
        if declared is not None and measured > declared and name not in self._sizes:
            logger.warning("%s takes %.3g GB, and its entry says %.3g GB", name, measured / 1e9, declared / 1e9)
        self._sizes[name] = measured

    async def _woken(self, name: str) -> Engine | None:
        """The model's engine, if it slept; None where it did not, or does not wake."""
        engine = self._asleep.pop(name, None)
        if engine is None:
            return None
        try:
            if engine.health().live:
                await engine.wake()
                return engine
        except APIError as error:
            logger.warning("%s did not wake, and is started anew: %s", name, error)
        except asyncio.CancelledError:
            await engine.stop()
            raise
        await engine.stop()
        return None

    async def _put_to_sleep(self, name: str, engine: Engine) -> bool:
        """Whether the engine sleeps now, and is kept."""
        if not engine.can_sleep or not engine.health().live:
            return False
        try:
            await engine.sleep()
        except APIError as error:
            logger.warning("%s does not sleep, and is stopped: %s", name, error)
            return False
        self._asleep[name] = engine
        return True

    async def _measured(self, engine: Engine, free: int | None, own_before: int, *, alone: bool) -> int | None:
        """What a load has taken: of GPUs' memory as there is less, else what the engine's processes hold."""
        if self._memory.of_gpus:
            reading = await self._memory.read()
            if not alone or reading is None or free is None:
                return None
            return max(0, free - reading.free) or None
        held = engine.memory_held()
        if held is not None:
            return held
        return max(0, own_memory() - own_before) if alone else None

    async def unload(self, name: str, engine: Engine) -> None:
        before = await self._memory.read() if self._memory.of_gpus else None
        if not await self._put_to_sleep(name, engine):
            await engine.stop()
        del engine
        await asyncio.to_thread(give_back)
        if before is not None:
            expected = before.free + self._sizes.get(name, 0) // 2
            missing = await wait_for_room(self._memory, expected, _ROOM_S)
            if missing:
                logger.warning("%s is unloaded, and %.3g GB of its memory are not free yet", name, missing / 1e9)


async def _start(engine: Engine) -> None:
    """Start an engine; nothing is left of one that fails, or whose start is cancelled."""
    try:
        await engine.start()
    except BaseException:
        with suppress(Exception):
            await engine.stop()
        raise
