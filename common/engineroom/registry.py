"""Engines by name, found through entry points in the group `engineroom.engines` (stevedore)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

from .errors import PluginError

if TYPE_CHECKING:
    from .engine import Engine

GROUP = "engineroom.engines"


def names(only: Sequence[str] = ()) -> list[str]:
    """The engines installed, sorted; none is imported.

    Args:
        only: where given, the engines that may load.

    Raises:
        PluginError: two packages provide an engine of the same name.
    """
    found: dict[str, EntryPoint] = {}
    for point in _entry_points():
        if only and point.name not in only:
            continue
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                f"two packages provide the engine {point.name!r}: {_origin(other)} and {_origin(point)}; "
                "uninstall one of them"
            )
    return sorted(found)


def load(name: str | None, only: Sequence[str] = ()) -> type[Engine]:
    """The engine class called `name`; with None the only one there is.

    Raises:
        PluginError: it is not installed, may not load, is broken, or there is none or more than one to choose.
    """
    from stevedore import DriverManager

    from .engine import Engine

    installed = names(only)
    if name is None:
        name = _only_one(installed)
    if name not in installed:
        raise PluginError(_not_installed(name, installed, only))
    plugin = DriverManager[type[Engine]](GROUP, name, on_load_failure_callback=_broken).extensions[0].plugin
    if not (isinstance(plugin, type) and issubclass(plugin, Engine)):
        raise PluginError(f"the engine {name!r} ({plugin!r}) is not an engineroom Engine")
    return plugin


def _entry_points() -> Sequence[EntryPoint]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=GROUP))


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value


def _only_one(installed: Sequence[str]) -> str:
    if len(installed) == 1:
        return installed[0]
    if installed:
        raise PluginError(f"several engines are installed; set ENGINE to one of: {', '.join(installed)}")
    raise PluginError("no engine is installed; `pip install engineroom-<engine>` installs one")


def _not_installed(name: str, installed: Sequence[str], only: Sequence[str]) -> str:
    from .spelling import suggest

    if only and name not in only:
        return f"ENGINE={name} may not be loaded: ENGINEROOM_ENGINES allows only {', '.join(only)}"
    meant = suggest(name, installed)
    hint = f"did you mean {meant}?" if meant else f"`pip install engineroom-{name}` may install it"
    return f"no engine called {name!r} is installed (installed: {', '.join(installed) or 'none'}); {hint}"


def _broken(manager: object, point: EntryPoint, error: BaseException) -> None:
    package = point.dist.name if point.dist else point.module
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    what = f"it needs the module {missing!r}" if missing else f"{type(error).__name__}: {error}"
    raise PluginError(
        f"the engine {point.name!r} of {package} cannot be loaded: {what}; `pip install --force-reinstall {package}`"
    ) from error
