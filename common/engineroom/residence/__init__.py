"""Several models on one worker: which are loaded, which wait, and who makes room for whom."""

from __future__ import annotations

from .entries import ModelEntry, read_entries
from .resident_models import ResidentModels
from .residents import ResidentModel
from .settings import ResidenceSettings

__all__ = ["ModelEntry", "ResidenceSettings", "ResidentModel", "ResidentModels", "read_entries"]
