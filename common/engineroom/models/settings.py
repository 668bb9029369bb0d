"""Where models are kept, and the token to fetch them with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr

from ..settings.base import Settings
from ..settings.environment import Environment
from .files import ModelFiles, cache_folders, hub_environ, is_whole, resolve, writable
from .hub import download


class HubSettings(Settings):
    """What engines share whose own client takes models from a hub."""

    base_path: str = Field(
        "/runpod-volume",
        description="A volume that outlives the worker. Models are kept there, and what the engine compiles.",
    )
    hf_token: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
        description="The token for gated and private repositories of the Hugging Face Hub.",
    )

    def environ(
        self, env: Environment, names: Iterable[str] = (), compiled: tuple[str, str] | None = None
    ) -> dict[str, str]:
        """The environment for the engine's process: this one's, with its hub client's and caches' variables.

        Args:
            names: variables of the engine's own, taken from wherever they are set.
            compiled: the variable that says where it keeps what it compiles, and a folder's name: on the volume, or
                beside the models where HF_HOME names a place for them.
        """
        base = {**os.environ, **{name: env[name] for name in names if name in env}}
        baked = env.source("MODEL_NAME").startswith("baked")
        environ = hub_environ(base, self.base_path, self.hf_token, baked=baked)
        kept = writable(self.base_path) or writable(environ.get("HF_HOME", ""))
        if compiled and kept:
            environ.setdefault(compiled[0], str(kept / compiled[1]))
        return environ

    def find(self, model: str, revision: str | None, environ: Mapping[str, str]) -> ModelFiles:
        """The model's files, where they are there already: at its path, in a cache or on the volume."""
        return resolve(model, revision, cache_folders(environ, self.base_path))

    def obtain(self, model: str, revision: str | None, environ: Mapping[str, str]) -> Path:
        """The model's folder or its GGUF file, downloaded where no cache has it whole; blocks.

        Args:
            model: a path, or a repository `org/name`; with `:QUANT` appended, its GGUF file with that in its name.
            environ: the hub client's environment, as `environ` makes it.

        Raises:
            HubError: it cannot be had.
        """
        repository = model
        quantisation = ""
        if not Path(model).exists():
            repository, _, quantisation = model.partition(":")
        place = self.find(repository, revision, environ).folder
        if place is None or not (place.is_file() or is_whole(place)):
            place = download(model, revision, cache_folders(environ)[0], environ.get("HF_TOKEN"))
        if not quantisation:
            return place
        files = [file for file in sorted(place.rglob("*.gguf")) if quantisation.lower() in file.name.lower()]
        return files[0] if files else place
