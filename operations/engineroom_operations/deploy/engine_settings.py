"""The settings in force, checked as a start would check them, and the engine that they are for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from engineroom import plugins
from engineroom.engine import Engine
from engineroom.errors import Problem, SettingsError
from engineroom.hardware import Matrix
from engineroom.settings import Environment, KnownNames, Layer, WorkerSettings

from ..fit.memory import Demand
from ..fit.reading import ModelMemory, read_model
from .deployment_file import DeploymentFile
from .models_table import models_table, one_engine

_CONTEXT_TOKENS = 8192
"""Where neither the settings nor the model say how long a context is."""


class EngineSettings(NamedTuple):
    """env: with other programs' names and the engine's understood; the engine's defaults are its lowest layer.

    model: MODEL_NAME; empty where the image or the engine brings one, and where MODELS has several.
    memory: the model's size and shape, where that had to be looked up already.
    warnings: what is set and has no effect.
    """

    engine: type[Engine]
    env: Environment
    model: str
    memory: ModelMemory | None = None
    warnings: tuple[str, ...] = ()


def engine_settings(env: Environment, file: DeploymentFile, matrix: Matrix) -> EngineSettings:
    """What is to run.

    Args:
        env: the settings in force on this machine.

    Raises:
        SettingsError: a setting is wrong, or no engine can be chosen; with every problem.
        HubError: the hub could not be asked which engines load the model.
    """
    given: dict[str, str] = dict(file.env)
    if file.model is not None:
        given["MODEL_NAME"] = file.model
    if file.engine is not None:
        given["ENGINE"] = file.engine
    # Not only settings may stand there, so what is unknown is no mistake unless it is near to one.
    asked = Environment([Layer("deployment", given, owned=False), *env.layers]) if given else env
    understood = KnownNames([WorkerSettings]).apply(asked)
    memory: ModelMemory | None = None
    table = models_table(understood, own_image=file.image is not None)
    if table is not None:
        wanted = {"MODELS": table.text}
        if file.image is None:
            wanted["ENGINE"] = one_engine(table)
        elif "ENGINE" not in understood and table.engines:
            # Only whose settings are checked: the image has its own, and no ENGINE is sent there.
            wanted["ENGINE"] = table.engines[0]
        asked = asked.with_arguments(wanted, "deployment")
    elif "ENGINE" not in understood:
        memory = _look_up(understood)
        asked = asked.with_arguments({"ENGINE": _engine_for(memory, asked, matrix)}, "deployment")
    engine, seen = plugins.engine_class(asked)
    _check(asked, engine, seen)
    # A model that the engine brings itself is in its image, or not: that is not for us to say.
    brought = table is not None or seen.source("MODEL_NAME") == "default"
    model = "" if brought else seen.get("MODEL_NAME", "")
    if model and file.image is None and Path(model).expanduser().exists():
        message = (
            f"{model} is on this machine and not on RunPod: name a repository of a hub, or bake the model into an "
            "image (`make image … MODEL=`) and name that under `image`"
        )
        raise SettingsError([Problem("MODEL_NAME", message, seen.source("MODEL_NAME"))])
    # What is set in this machine's environment for other programs is no concern of a deployment's.
    notices = plugins.known_names(engine, seen).check(seen).warnings
    warnings = tuple(str(notice) for notice in notices if notice.variable in given)
    return EngineSettings(engine, seen, model, memory, warnings)


def _check(asked: Environment, engine: type[Engine], seen: Environment) -> None:
    """Check every setting as a start does, but for what only this machine lacks: the engine is in the image.

    Raises:
        SettingsError: with every problem.
    """
    try:
        plugins.check(asked)
    except SettingsError as error:
        installed = all(need.met for need in engine.requirements(seen))
        problems = [each for each in error.problems if installed or _is_of_the_user(each, seen)]
        if problems:
            raise SettingsError(problems) from None


def _is_of_the_user(problem: Problem, seen: Environment) -> bool:
    """Whether a problem is about something that somebody has set, or must set."""
    return problem.variable in ("MODEL_NAME", "ENGINE") or seen.source(problem.variable) != "default"


def look_up(model: str, env: Environment) -> ModelMemory:
    """A model's size and shape, from a few requests to its hub.

    Raises:
        HubError: the hub has no such model, or cannot be reached.
        ModelReadingError: its files do not say what is needed.
    """
    hub = {name: value for name, value in env.items() if name.startswith("HF_")}
    return read_model(model, env.get("MODEL_REVISION"), environ={**os.environ, **hub})


def _look_up(env: Environment) -> ModelMemory:
    model = env.get("MODEL_NAME", "")
    if not model:
        raise SettingsError(
            [Problem("MODEL_NAME", "which model? Name a repository of a hub: `engineroom deploy MODEL`")]
        )
    return look_up(model, env)


def _engine_for(model: ModelMemory, env: Environment, matrix: Matrix) -> str:
    """The first engine with an image that loads the model's weights; it need not be able to run on this machine."""
    engines = {name: engine for name, engine in plugins.loadable(env).items() if name in matrix.engines}
    able = [name for name, engine in engines.items() if model.format in engine.model_formats]
    if not able:
        known = ", ".join(engines)
        message = f"which engine? {model.name} has {model.format} weights; name one of: {known}"
        raise SettingsError([Problem("ENGINE", message)])

    def rank(name: str) -> tuple[int, int, int]:
        engine = engines[name]
        return engine.model_formats.index(model.format), engine.preference, matrix.engines.index(name)

    return min(able, key=rank)


def demand_of(model: ModelMemory, settings: EngineSettings) -> Demand:
    """What a worker with these settings needs memory for: one request of its longest context."""
    profile = settings.engine.memory
    assert profile is not None
    context = settings.env.get(profile.context_setting, "") if profile.context_setting else ""
    share = settings.env.get(profile.share_setting, "") if profile.share_setting else ""
    tokens = int(context) if context.isdecimal() and int(context) else model.architecture.context_tokens
    return Demand(context_tokens=tokens or _CONTEXT_TOKENS, share=float(share) if _is_share(share) else None)


def _is_share(text: str) -> bool:
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False
