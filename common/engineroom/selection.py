"""Which engine serves a model where ENGINE names none: one that loads its weights, and that can run here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .engine import Engine
from .errors import PluginError
from .models import reference
from .models.files import cache_folders, resolve
from .models.formats import (
    FORMAT_NAMES,
    ModelFormat,
    adapter_base,
    formats,
    formats_at,
    generates,
    is_path,
    model_config,
)
from .models.hub import repository_files
from .models.settings import HubSettings
from .settings.environment import Environment

_TEXT = frozenset({"chat", "completions"})
_VECTORS = frozenset({"embeddings", "rerank"})


class Selection(NamedTuple):
    """The engine that is taken. reason: why it and no other, for the log."""

    engine: str
    reason: str


class ModelTraits(NamedTuple):
    """What decides who can serve a model, as far as it is known.

    formats: the formats of its weights.
    embeds: whether it makes vectors and no text; None where its files do not say.
    """

    formats: frozenset[ModelFormat]
    embeds: bool | None


def select(engines: Mapping[str, type[Engine]], env: Environment) -> Selection:
    """Select one of the engines for MODEL_NAME; without that, one that brings a model of its own.

    Of several that can, the one comes first that is best at the weights' format (`Engine.model_formats`), and among
    those the one with the lower `Engine.preference`. A repository that is not on this machine is looked up on the hub,
    which takes five seconds at the most.

    Args:
        engines: name -> class.

    Raises:
        PluginError: none of them can; the text says what to install.
        HubError: the hub has no such repository, or cannot be reached.
    """
    model = env.get("MODEL_NAME", "")
    if not model:
        return _with_own_model(engines, env)
    for name, engine in engines.items():
        if engine.defaults.get("MODEL_NAME") == model:
            return Selection(name, f"{name} brings the model {model}")
    loaders = {name: engine for name, engine in engines.items() if engine.model_formats}
    if not loaders:
        raise PluginError(f"no engine that is installed loads models; set ENGINE to one of: {', '.join(engines)}")
    path = Path(model).expanduser()
    if (is_path(model) and not path.exists()) or (path.exists() and adapter_base(path) is not None):
        # Whichever engine it is refuses such a model, and says why.
        return Selection(_in_order(loaders, loaders)[0], "")
    traits = _traits(model, env)
    able = [name for name, engine in loaders.items() if _suits(engine, traits)]
    words = _in_words(traits)
    if not able:
        raise PluginError(f"{model} has {words}, which no engine that is installed loads (`engineroom engines`)")
    ready = [name for name in able if not _missing(engines[name], env)]
    if not ready:
        raise PluginError(_to_install(model, words, {name: engines[name] for name in able}, env))
    chosen, *others = _in_order(ready, loaders, traits.formats)
    also = f"; ENGINE={' or ENGINE='.join(others)} would use another" if others else ""
    return Selection(chosen, f"{model} has {words}, so it is served by {chosen}{also}")


def candidates(engines: Mapping[str, type[Engine]], place: Path, env: Environment) -> tuple[list[str], list[str]]:
    """The engines that load the model in a file or folder, the one to be taken first: those that can run here, and the
    others."""
    traits = _traits_at(place)
    env = env.with_arguments({"MODEL_NAME": str(place)})
    able = [name for name, engine in engines.items() if _suits(engine, traits)]
    ready = {name for name in able if not _missing(engines[name], env)}
    in_order = _in_order(able, engines, traits.formats)
    return [name for name in in_order if name in ready], [name for name in in_order if name not in ready]


def _with_own_model(engines: Mapping[str, type[Engine]], env: Environment) -> Selection:
    loaders = {name: engine for name, engine in engines.items() if engine.model_formats}
    bringing = {name: engine for name, engine in loaders.items() if "MODEL_NAME" in engine.defaults}
    ready = [name for name in bringing if not _missing(bringing[name], env)]
    if ready:
        chosen = _in_order(ready, bringing)[0]
        model = bringing[chosen].defaults["MODEL_NAME"]
        return Selection(chosen, f"no model is named, so {chosen} serves its own, {model}")
    raise PluginError(
        "which model? Name a file, a folder or a repository of the hub: `engineroom serve MODEL`. "
        f"ENGINE may name the engine, one of: {', '.join(engines)}"
    )


def _traits(model: str, env: Environment) -> ModelTraits:
    named = reference.parse(model, {**os.environ, **env})
    settings = HubSettings.load(env)
    environ = settings.environ(env)
    repository = named.repository or named.name
    revision = env.get("MODEL_REVISION") or named.revision
    folder = named.path or resolve(repository, revision, cache_folders(environ, settings.base_path)).folder
    if folder is not None:
        return _traits_at(folder)
    names = list(repository_files(repository, revision, environ))
    return ModelTraits(frozenset({"gguf"}) if named.wanted else formats(names), _embeds(names))


def _traits_at(place: Path) -> ModelTraits:
    names = [file.relative_to(place).as_posix() for file in place.rglob("*")] if place.is_dir() else []
    return ModelTraits(formats_at(place) or formats(names), _embeds(names, place))


def _embeds(names: Sequence[str], folder: Path | None = None) -> bool | None:
    """Whether a model makes vectors, by its files' names and its configuration; None where they do not say."""
    if "modules.json" in names or "1_Pooling/config.json" in names:
        return True
    architectures = None if folder is None else model_config(folder).get("architectures")
    return not generates(architectures) if isinstance(architectures, list) and architectures else None


def _suits(engine: type[Engine], traits: ModelTraits) -> bool:
    if not traits.formats & set(engine.model_formats):
        return False
    if traits.embeds is None:
        return True
    return bool(engine.capabilities.surfaces & (_VECTORS if traits.embeds else _TEXT))


def _in_order(
    names: Iterable[str], engines: Mapping[str, type[Engine]], wanted: frozenset[ModelFormat] = frozenset()
) -> list[str]:
    """The names, the engine that is to be taken first."""

    def place(name: str) -> tuple[int, int, str]:
        known = engines[name].model_formats
        best = min((known.index(each) for each in wanted if each in known), default=0)
        return best, engines[name].preference, name

    return sorted(names, key=place)


def _missing(engine: type[Engine], env: Environment) -> list[str]:
    """What it needs and what is not here, each with what to type."""
    needs = engine.requirements(env.with_other_names(engine.other_names).with_defaults(engine.defaults))
    return [f"{need.what}: {need.remedy}" if need.remedy else need.what for need in needs if not need.met]


def _in_words(traits: ModelTraits) -> str:
    names = " and ".join(sorted(FORMAT_NAMES[each] for each in traits.formats))
    what = f"{names} weights" if names else "no weights of a known format"
    return f"{what} of a model that makes embeddings" if traits.embeds else what


def _to_install(model: str, words: str, able: Mapping[str, type[Engine]], env: Environment) -> str:
    lines = [f"{model} has {words}, and no engine that loads them can run here yet. One of these is needed:"]
    lines += [f"  {name}: {'; '.join(_missing(able[name], env))}" for name in _in_order(able, able)]
    return "\n".join(lines)
