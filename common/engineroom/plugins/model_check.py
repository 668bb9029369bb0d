"""Whether MODEL_NAME can be what an engine loads, as far as the files on this machine tell."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from ..engine import Engine
from ..errors import Problem
from ..models.formats import FORMAT_NAMES, ModelFormat, adapter_base, formats_at, is_path
from ..models.names import misnamed
from ..settings.base import comma_list
from ..settings.environment import Environment
from ..settings.suggestions import suggest
from .engines import engines_for, load_engine


def model_problem(engine: type[Engine], env: Environment) -> Problem | None:
    """Why MODEL_NAME cannot be what this engine loads, as far as the files on this machine tell; None where it can be.

    A path that is not there is never looked for on a hub. Weights in a format that the engine does not load, and an
    adapter in a model's place, are named, with the engines or the setting that take them.
    """
    model = env.get("MODEL_NAME", "")
    if not model or not engine.model_formats:
        return None
    path = Path(model).expanduser()
    if not path.exists():
        message = _not_there(model, path) if is_path(model) else misnamed(model)
        return _model_problem(env, message) if message else None
    base = adapter_base(path)
    if base is not None:
        setting = f", and {engine.adapter_setting} the adapter" if engine.adapter_setting else ""
        belongs = f"{base}, which it belongs to" if base else "the model that it belongs to"
        return _model_problem(env, f"{model} is a LoRA adapter, not a model: MODEL_NAME must name {belongs}{setting}")
    formats = formats_at(path)
    if not formats or formats & set(engine.model_formats):
        return None
    has = " and ".join(sorted(FORMAT_NAMES[name] for name in formats))
    takes = " or ".join(FORMAT_NAMES[name] for name in engine.model_formats)
    what = "a folder of" if path.is_dir() else "a file of"
    remedy = _who_loads(formats, env)
    return _model_problem(env, f"{model} is {what} {has} weights, and ENGINE={engine.name} loads {takes}; {remedy}")


def _model_problem(env: Environment, message: str) -> Problem:
    return Problem("MODEL_NAME", message, env.source("MODEL_NAME"))


def _who_loads(formats: Collection[ModelFormat], env: Environment) -> str:
    """Which engine to set instead: one that can run here, else one whose own parts are missing."""
    only = comma_list(env.get("ENGINEROOM_ENGINES", ""))
    takers = engines_for(formats, only)
    able = [name for name in takers if all(need.met for need in load_engine(name, only).requirements(env))]
    if able:
        return f"set ENGINE={' or ENGINE='.join(able)}"
    if takers:
        return f"ENGINE={' or ENGINE='.join(takers)} would load it, and `engineroom engines` says what that needs"
    return "no engine that is installed loads it"


def _not_there(model: str, path: Path) -> str:
    """That a path does not exist, and which one was meant."""
    if path.is_symlink():
        return f"{model} is a link to {os.readlink(path)}, where nothing is; correct the link, or name the file itself"
    where = "" if path.is_absolute() else f" in {Path.cwd()}"
    siblings = path.parent
    near = suggest(path.name, [entry.name for entry in siblings.iterdir()]) if siblings.is_dir() else None
    hint = f"; did you mean {Path(model).with_name(near)}?" if near else ""
    return f"there is no file or folder {model}{where}{hint}"
