"""Adapters on their way from a hub or an S3 folder to this machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from ..errors import APIError, EngineStartError
from ..models.download import BucketDownload, Download, ModelDownload
from ..models.files import cache_folders, resolve, writable
from ..models.formats import adapter_base
from ..models.settings import HubSettings
from ..models.volumes import own_disk, why_unwritable
from ..timeline import Timeline
from .sources import AdapterForm, adapter_in

logger = logging.getLogger(__name__)

BUCKET_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
"""What says how a bucket is reached; boto3 reads them."""

_SUFFIXES: Mapping[AdapterForm, str] = {"peft": ".safetensors", "gguf": ".gguf"}
_RETRY_S = 10


class AdapterDownloads:
    """Downloads adapters, each in a process of its own.

    Args:
        form: what the engine loads.
        hub: the settings of caches.
        environ: the environment of the hub's client and of boto3.
    """

    def __init__(self, form: AdapterForm, hub: HubSettings, environ: Mapping[str, str]) -> None:
        self._form = form
        self._hub = hub
        self._environ = environ

    async def fetch(self, name: str) -> Path:
        """The adapter's folder, or its GGUF file.

        Args:
            name: `org/name`, or `s3://bucket/folder`.

        Raises:
            APIError: 404 with the reason where there is none for us, 503 where another try may help.
        """
        if name.startswith("s3://"):
            folder = self._bucket_folder() / name.removeprefix("s3://").strip("/")
            folder = folder.parent if name.endswith(".gguf") else folder
            suffix = _SUFFIXES[self._form]
            return await self._bring(name, BucketDownload(name, folder, self._environ, Timeline(), suffix=suffix))
        caches = cache_folders(self._environ, self._hub.base_path)
        cached = resolve(name, None, caches).folder
        place = None if cached is None else adapter_in(cached, self._form)
        if place is not None:
            return place
        formats = ("gguf",) if self._form == "gguf" else ()
        cache = str(caches[0])
        adapter = self._form == "peft"
        download = ModelDownload(name, self._environ, Timeline(), cache=cache, formats=formats, adapter=adapter)
        return await self._bring(name, download)

    async def _bring(self, name: str, download: Download) -> Path:
        try:
            await download.start()
            brought = await download.model()
        except EngineStartError as error:
            raise _unavailable(name, download, str(error)) from error
        finally:
            await download.stop()
        if self._form == "gguf" and brought.first is not None:
            place = brought.first if adapter_base(brought.first) is not None else None
        else:
            place = adapter_in(brought.folder, self._form)
        if place is None:
            raise _unavailable(name, download, f"{name} is no LoRA adapter that this engine loads")
        return place

    def _bucket_folder(self) -> Path:
        """Where adapters of buckets are kept: on the volume where there is one, else in the user's cache."""
        volume = writable(self._hub.base_path)
        folder = volume / "lora-cache" if volume else Path("~/.cache/engineroom/lora").expanduser()
        return folder if why_unwritable(folder) is None else own_disk() / "lora"


def _unavailable(name: str, download: Download, reason: str) -> APIError:
    logger.warning("the adapter %s cannot be had: %s", name, reason)
    if download.explained and not download.temporary:
        return APIError(
            f"The adapter `{name}` cannot be had: {reason}.", status=404, param="model", code="model_not_found"
        )
    # The reason may name places of this machine.
    message = f"The adapter `{name}` cannot be had at the moment; the server's log says why."
    return APIError(message, status=503, param="model", code="adapter_unavailable", retry_after=_RETRY_S)
