"""`engineroom models`: the models on this machine, and which engine takes each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..engine import Engine
    from ..models.on_disk import LocalModel
    from ..settings.environment import Environment

_COLUMNS = ("model", "size", "format", "engine")
_NOTHING = (
    "No model is on this machine. `engineroom pull unsloth/Qwen3-0.6B-GGUF` downloads a small one, and "
    "`engineroom serve MODEL` downloads one and serves it."
)


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
def models(folders: Sequence[Path]) -> None:
    """List the models on this machine, and who takes each.

    Looks into the caches of the hubs, at the volume that BASE_PATH names, and where the engines keep models of their
    own; FOLDERS are looked into as well. The first column is what `engineroom serve` and MODEL_NAME take.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    from ..plugins.engines import loadable
    from ..settings.environment import Environment
    from .screen import console

    env = Environment.load()
    engines = loadable(env)
    listed = _listed(env, engines, folders)
    screen = console()
    if not listed:
        screen.print(_NOTHING)
        return
    rows = [_row(model, engines, env) for model in listed]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    if sum(widths) + 2 * len(widths) <= screen.width:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for title in _COLUMNS:
            table.add_column(title, justify="right" if title == "size" else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        screen.print(table)
    else:
        # A name that a terminal breaks could not be copied.
        for name, *about in rows:
            screen.print(Text(name, "bold"), soft_wrap=True)
            screen.print(Text(f"  {', '.join(about)}"))
    if any(not model.whole for model in listed):
        screen.print("\nTo complete a download: `engineroom pull MODEL`.")


def _row(model: LocalModel, engines: Mapping[str, type[Engine]], env: Environment) -> tuple[str, str, str, str]:
    from ..progress import size_text

    takers = _takers(model, engines, env) if model.whole else "incomplete"
    return _short(model.name), size_text(model.size), model.form or "-", takers


def _listed(env: Environment, engines: Mapping[str, type[Engine]], folders: Sequence[Path]) -> list[LocalModel]:
    """Every model once, by its place."""
    from ..models import on_disk
    from ..models.files import cache_folders
    from ..models.settings import HubSettings

    settings = HubSettings.load(env)
    # The caches that are there without a volume, and those on it.
    caches = [*cache_folders(os.environ), *cache_folders(settings.environ(env), settings.base_path)]
    listed = list(on_disk.in_caches(dict.fromkeys(caches)))
    for engine in engines.values():
        for name, path in engine.own_models(env.with_other_names(engine.other_names)).items():
            model = on_disk.at_file(path, name)
            if model is not None:
                listed.append(model)
    volume = Path(settings.base_path)
    for folder in (*([volume] if volume.is_dir() else []), *folders):
        listed += on_disk.in_folder(folder)
    by_place = {model.place: model for model in reversed(listed)}
    return sorted(by_place.values(), key=lambda model: model.name.lower())


def _takers(model: LocalModel, engines: Mapping[str, type[Engine]], env: Environment) -> str:
    """The engines that load it: those that can run here, else those that cannot yet."""
    from ..selection import candidates

    ready, others = candidates(engines, model.place, env)
    if ready:
        return ", ".join(ready)
    return f"needs {' or '.join(others)}" if others else "none"


def _short(name: str) -> str:
    """A path with `~` for the home folder, as it can be typed."""
    home = str(Path.home())
    return f"~{name[len(home) :]}" if name.startswith(f"{home}/") else name
