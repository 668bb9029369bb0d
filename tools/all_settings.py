"""Every setting of an engine and the doors, with its group, for the files that RunPod's pages are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from engineroom import plugins
from engineroom.hardware import Image
from engineroom.settings import Environment, FlagTable, Setting

SET_BY_THE_IMAGE = {"ENGINE", "ENGINEROOM_IMAGE", "HOST"}


class Listed(NamedTuple):
    """One setting. `own`: the engine's flag, whose default is the engine's business and is never filled in."""

    group: str
    setting: Setting
    own: bool


def of_image(image: Image, door: str | Sequence[str] | None = None) -> Iterator[Listed]:
    """The settings that make sense for an image: without those it sets itself, and without variables that the
    engine reads but nobody documents.

    Args:
        door: leave out what only other doors read; several may be named.
    """
    # An engine's flags depend on its version; the image says which, not whatever is installed here.
    version = {f"{image.engine.upper()}_VERSION": image.version, f"{image.engine.upper()}_PYTHON": "/nonexistent"}
    engine, env = plugins.engine_class(Environment.of({"ENGINE": image.engine, **version}))
    seen: set[str] = set()
    for group in plugins.settings_groups(engine, env, door):
        own = isinstance(group, FlagTable)
        if not own and not isinstance(group, type):
            continue
        for setting in group.describe():
            if setting.name not in seen | SET_BY_THE_IMAGE:
                seen.add(setting.name)
                default = engine.defaults.get(setting.name, setting.default)
                yield Listed(group.title, replace(setting, default=default), own)


def default(listed: Listed) -> str | bool | int | float | None:
    """The default to fill in, as JSON has it; None to leave it open."""
    text = listed.setting.default
    if listed.own or text is None:
        return None
    if listed.setting.kind == "boolean":
        return text == "true"
    if listed.setting.kind == "number":
        return float(text) if "." in text and float(text) != int(float(text)) else int(float(text))
    return text
