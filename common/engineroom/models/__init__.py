"""A model's files on this machine, and the hubs that models come from."""

from __future__ import annotations

from .files import ModelFiles, cache_folders, hub_environ, is_whole, resolve, weights, writable
from .hub import HubError, download, explain
from .settings import HubSettings

__all__ = [
    "HubError",
    "HubSettings",
    "ModelFiles",
    "cache_folders",
    "download",
    "explain",
    "hub_environ",
    "is_whole",
    "resolve",
    "weights",
    "writable",
]
