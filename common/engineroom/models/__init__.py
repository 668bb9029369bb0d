"""A model's files on this machine, and the hubs that models come from."""

from __future__ import annotations

from . import gguf, reference
from .download import DownloadedModel, ModelDownload, download
from .files import ModelFiles, cache_folders, hub_environ, is_whole, resolve, weights, writable
from .formats import FORMAT_NAMES, ModelFormat, adapter_base, formats, formats_at, generates, is_path, model_config
from .gguf import ModelChoiceError
from .hub import HubError, explain
from .pooling import pooling
from .settings import LIBRARY_VARIABLES, HubSettings

__all__ = [
    "FORMAT_NAMES",
    "LIBRARY_VARIABLES",
    "DownloadedModel",
    "HubError",
    "HubSettings",
    "ModelChoiceError",
    "ModelDownload",
    "ModelFiles",
    "ModelFormat",
    "adapter_base",
    "cache_folders",
    "download",
    "explain",
    "formats",
    "formats_at",
    "generates",
    "gguf",
    "hub_environ",
    "is_path",
    "is_whole",
    "model_config",
    "pooling",
    "reference",
    "resolve",
    "weights",
    "writable",
]
