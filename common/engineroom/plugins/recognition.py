"""Which engine an environment asks for, and what its names mean to that engine."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..engine import Engine
from ..errors import SettingsError
from ..models import reference
from ..selection import select
from ..settings.base import comma_list
from ..settings.environment import Environment
from ..settings.known_names import KnownNames
from ..settings.worker import WorkerSettings
from .engines import engine_names, load_engine, loadable_of
from .groups import Doors, known_names

SELECTED = "selected for MODEL_NAME"
"""The layer that has ENGINE where the user did not set it."""


class Recognised(NamedTuple):
    """The engine, the environment as it understands it, the names it was understood by, and what there is to say."""

    engine: type[Engine]
    env: Environment
    names: KnownNames
    notes: tuple[str, ...]


def engine_class(env: Environment) -> tuple[type[Engine], Environment]:
    """The engine that the environment asks for, and the environment with other programs' names and that engine's
    defaults applied.

    Where ENGINE names none, it is one that can serve MODEL_NAME (`selection.select`), and the environment says so.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded, or none can serve the model.
        SettingsError: no engine is named, but a variable looks as if one was meant.
        HubError: which engine can could not be learnt from the hub.
    """
    recognised = recognise(env, door=None)
    return recognised.engine, recognised.env


def recognise(env: Environment, door: Doors) -> Recognised:
    core = KnownNames([WorkerSettings])
    env = core.apply(env)
    only = comma_list(env.get("ENGINEROOM_ENGINES", ""))
    name = env.get("ENGINE")
    reason = ""
    asked = env
    if name is None:
        installed = engine_names(only)
        mistyped = [each for each in core.mistyped("ENGINE", env) if env[each.variable] in installed]
        if mistyped:
            raise SettingsError(mistyped)
        if len(installed) > 1:
            env = with_model(env)
            name, reason = select(loadable_of(only), env)
            env = env.with_arguments({"ENGINE": name}, SELECTED)
    engine = load_engine(name, only)
    names = known_names(engine, env, door)
    env = names.apply(env)
    notes = [note for note in (reason, _set_aside(names.apply(asked))) if note]
    if engine.model_formats:
        # An address may also say which revision, which engines call by names of their own.
        env = names.apply(with_model(env))
    return Recognised(engine, env.with_defaults(engine.defaults), names, tuple(notes))


def _set_aside(env: Environment) -> str:
    """That a model which one place names does not count, because a higher one names another; empty otherwise."""
    named = [(layer.name, layer.values["MODEL_NAME"]) for layer in env.layers if layer.values.get("MODEL_NAME")]
    if not named:
        return ""
    source, model = named[0]
    others = [f"{other} of the {place}" for place, other in named[1:] if other != model]
    return f"MODEL_NAME is {model}, from the {source}; {others[0]} does not count" if others else ""


def with_model(env: Environment) -> Environment:
    """The environment with MODEL_NAME as engines take it, where the user gave an address or `~/...`."""
    given = env.get("MODEL_NAME")
    if given is None:
        return env
    model = reference.parse(given, {**os.environ, **env})
    values = {"MODEL_NAME": model.name} if model.name != given else {}
    if model.revision and "MODEL_REVISION" not in env:
        values["MODEL_REVISION"] = model.revision
    return env.with_arguments(values, env.source("MODEL_NAME")) if values else env
