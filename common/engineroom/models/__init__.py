"""A model's files on this machine, and the hubs that models come from."""

from __future__ import annotations

from .files import ModelFiles, cache_folders, hub_environ, is_whole, resolve, weights, writable
from .formats import FORMAT_NAMES, ModelFormat, adapter_base, formats, formats_at, is_path
from .hub import HubError, download, explain
from .settings import HubSettings

__all__ = [
    "FORMAT_NAMES",
    "HubError",
    "HubSettings",
    "ModelFiles",
    "ModelFormat",
    "adapter_base",
    "cache_folders",
    "download",
    "explain",
    "formats",
    "formats_at",
    "hub_environ",
    "is_path",
    "is_whole",
    "resolve",
    "weights",
    "writable",
]
