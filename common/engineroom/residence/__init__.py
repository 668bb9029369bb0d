"""Several models on one worker: which are loaded, which wait, and who makes room for whom."""

from __future__ import annotations

from .entries import ModelEntry, read_entries
from .settings import ResidenceSettings

__all__ = ["ModelEntry", "ResidenceSettings", "read_entries"]
