"""The GPUs that RunPod rents out: what they can do, and what they cost, as recorded on a date.

The record is `catalog.json` beside this file. Every figure names its source and the day on which that source was read;
where no source gives a figure, it is null. Prices change often: whoever can ask RunPod's API does so, and whoever shows
recorded prices says from when they are (`GpuCatalog.dates`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ..errors import EngineroomError

RECORD = Path(__file__).with_name("catalog.json")

GIB = 1024**3

SMALLEST_USABLE_SHARE = 0.915
"""Of the memory on the box, CUDA leaves at least this share on every GPU of the record (L4: 22.03 of 24)."""

_FIGURES = (
    "pool",
    "sm",
    "usable_memory_gib",
    "bandwidth_gb_s",
    "bf16_tflops",
    "secure_usd",
    "community_usd",
    "serverless_usd",
    "secure_max_count",
    "community_max_count",
)


class CatalogError(EngineroomError):
    """The catalog of GPUs is malformed, or has no such GPU; the text names those that it has."""


class CatalogSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where figures come from.

    date: the day on which the source was read, or that it states itself (ISO 8601).
    """

    what: str
    where: str
    date: str


class CatalogGpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One type of GPU. Null means that no source gives the figure.

    id: what a pod asks for (`gpu.id`).
    name: RunPod's short name.
    pool: what a serverless endpoint asks for (`gpu.pools`); null if the GPU is in no pool.
    memory_gb: the memory on the box, as RunPod's catalog counts it; it means GiB but for cards with odd sizes.
    sm: compute capability without the point, `89` for 8.9.
    usable_memory_gib: the total that CUDA reports to a process.
    bandwidth_gb_s: memory bandwidth in 10^9 bytes a second.
    bf16_tflops: dense, with FP32 accumulation.
    secure_usd, community_usd, serverless_usd: list price of one GPU for an hour: of a pod in either cloud, of a flex
        worker. Null where RunPod does not offer it so, too.
    secure_max_count, community_max_count: the largest machine of the type, in GPUs.
    sources: figure -> the key of its source.
    """

    id: str
    name: str
    manufacturer: Literal["NVIDIA", "AMD", "UNKNOWN"]
    memory_gb: int
    pool: str | None = None
    sm: str | None = None
    usable_memory_gib: float | None = None
    bandwidth_gb_s: float | None = None
    bf16_tflops: float | None = None
    secure_usd: float | None = None
    community_usd: float | None = None
    serverless_usd: float | None = None
    secure_max_count: int | None = None
    community_max_count: int | None = None
    sources: Mapping[str, str] = {}

    @property
    def usable_memory_bytes(self) -> int:
        """What a process can allocate, before any engine's own share; a careful guess where no source states it."""
        usable_gib = self.usable_memory_gib
        if usable_gib is None:
            usable_gib = self.memory_gb * SMALLEST_USABLE_SHARE
        return int(usable_gib * GIB)

    @property
    def pod_usd(self) -> float | None:
        """The lowest price of a pod in either cloud."""
        prices = [price for price in (self.secure_usd, self.community_usd) if price is not None]
        return min(prices, default=None)

    @property
    def max_count(self) -> int | None:
        """The largest machine in either cloud, in GPUs; null if unknown."""
        counts = [count for count in (self.secure_max_count, self.community_max_count) if count is not None]
        return max(counts, default=None)


class GpuCatalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Types of GPU with their prices.

    recorded: the day on which the record was put together (ISO 8601).
    """

    recorded: str
    sources: Mapping[str, CatalogSource]
    gpus: tuple[CatalogGpu, ...]

    @classmethod
    def load(cls, path: Path = RECORD) -> GpuCatalog:
        """Read a record.

        Raises:
            CatalogError: it cannot be read, or a figure has no source; the text names it.
        """
        try:
            catalog = msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise CatalogError(f"{path} is no catalog of GPUs: {error}") from error
        unsourced = [f"{gpu.id}: {figure}" for gpu in catalog.gpus for figure in catalog._unsourced(gpu)]
        if unsourced:
            raise CatalogError(f"{path} has figures without a source: {', '.join(unsourced)}")
        return catalog

    def _unsourced(self, gpu: CatalogGpu) -> list[str]:
        stated = ["id", *(figure for figure in _FIGURES if getattr(gpu, figure) is not None)]
        return [figure for figure in stated if gpu.sources.get(figure) not in self.sources]

    @property
    def dates(self) -> tuple[str, str]:
        """The days on which the oldest and the newest price of the record were read."""
        dates = sorted(
            self.sources[gpu.sources[figure]].date
            for gpu in self.gpus
            for figure in ("secure_usd", "community_usd", "serverless_usd")
            if getattr(gpu, figure) is not None
        )
        return dates[0], dates[-1]

    @property
    def pools(self) -> Mapping[str, tuple[CatalogGpu, ...]]:
        """The serverless pools, each with its GPUs."""
        pools: dict[str, list[CatalogGpu]] = {}
        for gpu in self.gpus:
            if gpu.pool is not None:
                pools.setdefault(gpu.pool, []).append(gpu)
        return {pool: tuple(members) for pool, members in pools.items()}

    def matching(self, name: str) -> tuple[CatalogGpu, ...]:
        """The GPUs that a person means: one by its id or name, those of a pool, or those that have all words of `name`.

        Upper and lower case are the same.

        Raises:
            CatalogError: there is none.
        """
        wanted = name.strip().lower()
        exact = [gpu for gpu in self.gpus if wanted in (gpu.id.lower(), gpu.name.lower())]
        if exact:
            return tuple(exact)
        pool = [gpu for gpu in self.gpus if gpu.pool is not None and wanted == gpu.pool.lower()]
        if pool:
            return tuple(pool)
        words = wanted.replace("-", " ").split()
        similar = [gpu for gpu in self.gpus if words and _has_words(gpu, words)]
        if not similar:
            raise CatalogError(f"there is no GPU called {name!r}; there are {_listed(self.gpus)}")
        return tuple(similar)


def _has_words(gpu: CatalogGpu, words: Sequence[str]) -> bool:
    own_words = f"{gpu.id} {gpu.name}".lower().replace("-", " ").split()
    return all(word in own_words for word in words)


def _listed(gpus: Sequence[CatalogGpu]) -> str:
    return ", ".join(gpu.name for gpu in gpus)
