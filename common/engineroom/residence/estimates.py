"""What a model is likely to take, before it has been loaded."""

from __future__ import annotations

import os

from ..engine import Engine
from ..errors import EngineroomError
from ..models import gguf, reference
from ..models.files import cache_folders, resolve, weights
from ..models.settings import HubSettings
from ..settings.environment import Environment


def weights_size(engine: type[Engine], env: Environment) -> int | None:
    """Bytes of the weights of MODEL_NAME, where they are on this machine; 0 for an engine that loads none; None where
    nobody can say yet."""
    if not engine.model_formats:
        return 0
    model = env.get("MODEL_NAME")
    if not model:
        return None
    own = engine.own_models(env).get(model)
    if own is not None:
        return own.stat().st_size
    try:
        named = reference.parse(model, {**os.environ, **env})
        settings = HubSettings.load(env)
    except EngineroomError:
        return None
    if named.path is not None:
        place = named.path
    else:
        repository = named.repository or named.name
        caches = cache_folders(settings.environ(env), settings.base_path)
        folder = resolve(repository, env.get("MODEL_REVISION"), caches)
        if folder.folder is None:
            return None
        place = folder.folder
    files = weights(place)
    if files and files[0].suffix == ".gguf" and len(files) > 1:
        # A folder of GGUF files has one model in several quantisations, of which one is loaded.
        wanted = named.wanted
        try:
            chosen = gguf.choose([file.name for file in files], model, wanted).files
        except EngineroomError:
            return None
        files = [file for file in files if file.name in chosen]
    return sum(file.stat().st_size for file in files) or None


def gpu_share(engine: type[Engine], env: Environment) -> float | None:
    """The part of the GPUs' memory that an engine takes whatever its model is, by its settings; None for one that takes
    as much as its model needs."""
    profile = engine.memory
    if profile is None or not profile.share_setting:
        return None
    try:
        return float(env.get(profile.share_setting) or profile.share)
    except ValueError:
        return profile.share
