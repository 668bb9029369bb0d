"""Several models on a deployed worker: the table that MODELS has, as an environment takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from engineroom.errors import Problem, Problems, SettingsError
from engineroom.plugins import table_choices
from engineroom.residence import ModelEntry, ResidenceSettings, read_entries
from engineroom.settings import Environment


class ModelsTable(NamedTuple):
    """text: the table as JSON, for there is no file on the worker. engines: the names of its models' engines."""

    text: str
    engines: tuple[str, ...]


def models_table(env: Environment, own_image: bool = False) -> ModelsTable | None:
    """The table of the settings in force; None where there is one model.

    Args:
        own_image: whether the image is the user's own, which may have files in the places where they are here.

    Raises:
        SettingsError: something in it is wrong, or is a place on this machine; with every problem.
    """
    if not env.get("MODELS"):
        return None
    problems = Problems()
    entries = read_entries(ResidenceSettings.load(env), env, problems)
    for entry in entries:
        for variable, value in entry.settings.items():
            a_place = value.startswith(("/", "./", "~/", "../"))
            if a_place and not own_image and Path(value).expanduser().exists():
                message = f"{value} is on this machine and not on RunPod: name a repository of a hub, or bake it in"
                problems.add(f"{entry.place}.{entry.written[variable]}", message, entry.source)
    problems.check()
    text = json.dumps([_as_written(entry) for entry in entries], ensure_ascii=False)
    return ModelsTable(text, tuple(dict.fromkeys(choice.engine.name for choice in table_choices(env))))


def one_engine(table: ModelsTable) -> str:
    """The engine of all models, since each of our images has one.

    Raises:
        SettingsError: there are several, or none is known here.
    """
    if len(table.engines) == 1:
        return table.engines[0]
    if not table.engines:
        raise SettingsError([Problem("ENGINE", "which engine? Name it for each model of MODELS")])
    message = (
        f"has models of {' and '.join(table.engines)}, and each of our images has one engine: name an image of yours "
        "that has them under `image`, or deploy them apart"
    )
    raise SettingsError([Problem("MODELS", message)])


def _as_written(entry: ModelEntry) -> dict[str, object]:
    own: dict[str, object] = {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "memory": None if entry.memory is None else f"{entry.memory} B",
        "ttl": entry.ttl_s,
        "pinned": entry.pinned,
        "preload": entry.preload,
        "groups": sorted(entry.groups),
    }
    return {**{key: value for key, value in own.items() if value}, **entry.settings}
