"""LoRA adapters by name at run time: where they come from, and which of them an engine has loaded."""

from __future__ import annotations

from .adapters import Adapters
from .download import BUCKET_VARIABLES, AdapterDownloads
from .pool import AdapterPool
from .settings import AdapterSettings
from .sources import Adapter, AdapterForm, AdapterSources

__all__ = [
    "BUCKET_VARIABLES",
    "Adapter",
    "AdapterDownloads",
    "AdapterForm",
    "AdapterPool",
    "AdapterSettings",
    "AdapterSources",
    "Adapters",
]
