"""Where models are kept, and the token to fetch them with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import AliasChoices, Field, SecretStr

from ..settings.base import Settings
from ..settings.environment import Environment
from ..settings.other_names import OtherName, doubted, taken
from ..timeline import Timeline
from . import gguf
from .download import download
from .files import ModelFiles, cache_folders, hub_environ, is_whole, resolve, weights, writable

_CLIENT = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")
"""Variables of the hub's client that count wherever they are set."""

LIBRARY_VARIABLES = frozenset(
    {
        *("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "FLASHINFER_WORKSPACE_BASE", "HF_DATASETS_CACHE"),
        *("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_ENABLE_HF_TRANSFER", "HF_HUB_OFFLINE"),
        *("HF_XET_HIGH_PERFORMANCE", "HUGGINGFACE_HUB_CACHE", "NCCL_DEBUG", "NCCL_P2P_DISABLE", "NCCL_SOCKET_IFNAME"),
        *("OMP_NUM_THREADS", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "TOKENIZERS_PARALLELISM"),
        *("TORCHINDUCTOR_CACHE_DIR", "TORCH_CUDA_ARCH_LIST", "TRANSFORMERS_OFFLINE", "TRITON_CACHE_DIR"),
    }
)
"""Variables of the libraries under engines that are built on PyTorch, which users put into their settings files."""


class HubSettings(Settings):
    """What engines share whose own client takes models from a hub."""

    other_names: ClassVar[Mapping[str, OtherName]] = {
        **taken(
            "HF_TOKEN",
            (
                "HF_API_KEY",
                "HF_API_TOKEN",
                "HF_HUB_TOKEN",
                "HUGGINGFACEHUB_API_TOKEN",
                "HUGGINGFACE_API_KEY",
                "HUGGINGFACE_HUB_TOKEN",
                "HUGGINGFACE_TOKEN",
                "HUGGING_FACE_TOKEN",
            ),
        ),
        **doubted(
            "BASE_PATH",
            "a folder with the hub's cache in it",
            ("MODELS_DIR", "MODELS_PATH", "MODEL_CACHE", "MODEL_CACHE_DIR", "WEIGHTS_CACHE"),
        ),
    }

    base_path: str = Field(
        "/runpod-volume",
        description="A volume that outlives the worker, for models and for what the engine compiles.",
    )
    hf_token: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
        description="The token for gated and private repositories of the Hugging Face Hub.",
    )

    def environ(
        self,
        env: Environment,
        names: Iterable[str] = (),
        compiled: tuple[str, str] | None = None,
        caches: Iterable[str] = (),
    ) -> dict[str, str]:
        """The environment for the engine's process: this one's, with its hub client's and caches' variables.

        Args:
            names: variables of the engine's own, taken from wherever they are set.
            compiled: the variable that says where it keeps what it compiles, and a folder's name: on the volume, or
                beside the models where HF_HOME names a place for them.
            caches: more variables of the engine's own that name folders of caches. One that cannot be written is
                replaced by a folder on this machine's own disk.
        """
        base = {**os.environ, **{name: env[name] for name in (*_CLIENT, *names) if name in env}}
        baked = env.source("MODEL_NAME").startswith("baked")
        own = [*caches, compiled[0]] if compiled else caches
        environ = hub_environ(base, self.base_path, self.hf_token, baked=baked, caches=own)
        kept = writable(self.base_path) or writable(environ.get("HF_HOME", ""))
        if compiled and kept:
            environ.setdefault(compiled[0], str(kept / compiled[1]))
        return environ

    def find(self, model: str, revision: str | None, environ: Mapping[str, str]) -> ModelFiles:
        """The model's files, where they are there already: at its path, in a cache or on the volume."""
        return resolve(model, revision, cache_folders(environ, self.base_path))

    def cached(self, repository: str, wanted: str, revision: str | None, environ: Mapping[str, str]) -> Path | None:
        """A repository's folder or GGUF file where a cache has it whole, else None; no hub is asked.

        Args:
            wanted: the quantisation or GGUF file that is meant.
        """
        folder = self.find(repository, revision, environ).folder
        return None if folder is None else place_in(folder, repository, wanted)

    async def obtain(
        self, model: str, revision: str | None, environ: Mapping[str, str], timeline: Timeline, formats: Sequence[str]
    ) -> Path:
        """The model's folder or its GGUF file, downloaded where no cache has it whole.

        Args:
            model: a path, or a repository `org/name`, with `:` and a quantisation or the name of a GGUF file.
            environ: the hub client's environment, as `environ` makes it.
            timeline: gets the download's progress.
            formats: the formats of weights that the engine loads, the best first.

        Raises:
            EngineStartError: it cannot be had.
        """
        if Path(model).exists():
            return Path(model)
        repository, _, wanted = model.partition(":")
        place = self.cached(repository, wanted, revision, environ)
        if place is not None:
            return place
        cache = str(cache_folders(environ)[0])
        options: dict[str, Any] = {"revision": revision, "cache": cache, "wanted": wanted, "formats": formats}
        return (await download(repository, environ, timeline, **options)).place


def place_in(folder: Path, repository: str, wanted: str) -> Path | None:
    """What an engine loads of a repository's folder on this machine; None where that is not all there."""
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*.gguf")]
    if not wanted and not (names and len(names) == len(weights(folder))):
        return folder if is_whole(folder) else None
    try:
        return folder / gguf.choose(names, repository, wanted).first
    except gguf.ModelChoiceError:
        return None
