"""GPUs and their prices: as RunPod's API says now, or as they were recorded, with the day of the record said aloud."""

from __future__ import annotations

from .current import LIVE, CurrentCatalog, current, with_offers

__all__ = ["LIVE", "CurrentCatalog", "current", "with_offers"]
