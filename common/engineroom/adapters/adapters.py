"""The LoRA adapters of one engine: names that come and go beside its model's."""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from ..engine import Metric
from ..errors import APIError
from ..models.settings import HubSettings
from ..pool_load import AdapterOccupancy
from .download import AdapterDownloads
from .pool import AdapterPool
from .settings import AdapterSettings
from .sources import Adapter, AdapterSources

if TYPE_CHECKING:
    from typing_extensions import Self

_RETRY_S = 5.0
"""Seconds for which what failed is not tried again, whoever asks for it."""


class Adapters:
    """Finds the adapter that a request names, and has it loaded while the request runs.

    Args:
        sources: where adapters come from.
        pool: what the engine has loaded.
        clock: the time in seconds, from any beginning.
    """

    def __init__(self, sources: AdapterSources, pool: AdapterPool, clock: Callable[[], float] = time.monotonic) -> None:
        self.sources = sources
        self.pool = pool
        self._clock = clock
        self._failed: dict[tuple[str, str], tuple[float, APIError]] = {}
        """What failed a moment ago: name and version, the version empty for a download -> until when, and why."""

    @classmethod
    def of(cls, settings: AdapterSettings, hub: HubSettings, environ: Mapping[str, str], pool: AdapterPool) -> Self:
        """Those that a user's settings name, in PEFT's form; `environ` is that of the hub's client and of boto3."""
        return cls(AdapterSources(settings, "peft", AdapterDownloads("peft", hub, environ).fetch), pool)

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[None]:
        """Have an adapter loaded for as long as the block runs.

        Raises:
            APIError: there is none of that name, or it cannot be downloaded or loaded.
        """
        async with AsyncExitStack() as stack:
            adapter = await self._obtain(name)
            self._check_failed(name, adapter.version)
            try:
                await stack.enter_async_context(self.pool.use(adapter))
            except APIError as error:
                self._note_failure(name, adapter.version, error)
                raise
            yield

    async def close(self) -> None:
        """End loads and downloads that are under way."""
        await self.pool.close()
        await self.sources.close()

    def occupancy(self) -> AdapterOccupancy:
        """Which adapters are loaded, and which are waited for."""
        return AdapterOccupancy(self.pool.capacity, self.pool.loaded, self.pool.awaited)

    def metrics(self) -> list[Metric]:
        """How many adapters are loaded, and what became of those that were asked for."""
        counts = self.pool.counts
        words = {"loads": "Loads", "unloads": "Unloads", "failures": "Failed loads"}
        return [
            Metric("engineroom_adapters_loaded", "gauge", "LoRA adapters now loaded.", {"": len(self.pool.loaded)}),
            *(
                Metric(f"engineroom_adapter_{name}_total", "counter", f"{text} of LoRA adapters.", {"": counts[name]})
                for name, text in words.items()
            ),
        ]

    async def _obtain(self, name: str) -> Adapter:
        self._check_failed(name, "")
        try:
            return await self.sources.obtain(name)
        except APIError as error:
            # What is put into a folder a moment later is there at once. A hub is not asked again and again.
            if self.sources.may_download(name):
                self._note_failure(name, "", error)
            raise

    def _check_failed(self, name: str, version: str) -> None:
        until, error = self._failed.get((name, version), (0.0, None))
        if error is not None and self._clock() < until:
            raise copy.copy(error)

    def _note_failure(self, name: str, version: str, error: APIError) -> None:
        now = self._clock()
        self._failed = {key: failure for key, failure in self._failed.items() if now < failure[0]}
        self._failed[name, version] = (now + _RETRY_S, copy.copy(error))
