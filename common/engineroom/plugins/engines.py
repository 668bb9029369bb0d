"""The engines that are installed, found through entry points (stevedore)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.metadata import EntryPoint

from ..engine import Engine
from ..errors import PluginError
from ..installation import engines_at_hand, entry_points_of, how_to_install
from ..models.formats import ModelFormat
from ..settings.base import comma_list
from ..settings.environment import Environment
from ..settings.suggestions import suggest
from .versions import check_version

ENGINES = "engineroom.engines"


def engine_names(only: Sequence[str] = ()) -> list[str]:
    """The engines installed, sorted; none is imported.

    Args:
        only: where given, the engines that may load.

    Raises:
        PluginError: two packages provide an engine of the same name.
    """
    return list(_engine_points(only))


def load_engine(name: str | None, only: Sequence[str] = ()) -> type[Engine]:
    """The engine class called `name`; with None the only one there is.

    Raises:
        PluginError: it is not installed, may not load, is broken, or there is none or more than one to choose.
    """
    installed = _engine_points(only)
    if name is None:
        name = _only_one(list(installed))
    if name not in installed:
        raise PluginError(_not_installed(name, list(installed), only))
    return _load(installed[name])


def loadable(env: Environment) -> dict[str, type[Engine]]:
    """The engines installed that may load, by name; one that is broken is left out."""
    return loadable_of(comma_list(env.get("ENGINEROOM_ENGINES", "")))


def loadable_of(only: Sequence[str]) -> dict[str, type[Engine]]:
    """As `loadable`, of those that may load."""
    engines = {}
    for name, point in _engine_points(only).items():
        try:
            engines[name] = _load(point)
        except PluginError:
            continue
    return engines


def engines_for(formats: Collection[ModelFormat], only: Sequence[str] = ()) -> list[str]:
    """The engines installed that load weights of one of these formats, sorted. Each is imported; one that cannot be is
    left out.

    Args:
        only: where given, the engines that may load.
    """
    return [name for name, engine in loadable_of(only).items() if set(engine.model_formats) & set(formats)]


def no_engine() -> str:
    """That no engine is installed, and how to get one."""
    here = engines_at_hand()
    if not here:
        return "no engine is installed; `pip install engineroom-<engine>` installs one"
    listed = ", ".join(here)
    return f"no engine is installed; of those in this clone ({listed}): {how_to_install(f'engineroom-{here[0]}')}"


def _engine_points(only: Sequence[str]) -> dict[str, EntryPoint]:
    """The engines' entry points by name, sorted.

    Raises:
        PluginError: two packages provide an engine of the same name.
    """
    by_name: dict[str, EntryPoint] = {}
    for point in entry_points_of(ENGINES):
        if only and point.name not in only:
            continue
        other = by_name.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                f"two packages provide the engine {point.name!r}: {_origin(other)} and {_origin(point)}; "
                "uninstall one of them"
            )
    return dict(sorted(by_name.items()))


def _load(point: EntryPoint) -> type[Engine]:
    from stevedore import DriverManager

    check_version(point)
    name = point.name
    plugin = DriverManager[type[Engine]](ENGINES, name, on_load_failure_callback=_broken).extensions[0].plugin
    if not (isinstance(plugin, type) and issubclass(plugin, Engine)):
        raise PluginError(f"the engine {name!r} ({plugin!r}) is not an engineroom Engine")
    return plugin


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value


def _only_one(installed: Sequence[str]) -> str:
    if len(installed) == 1:
        return installed[0]
    if installed:
        raise PluginError(f"several engines are installed; set ENGINE to one of: {', '.join(installed)}")
    raise PluginError(no_engine())


def _not_installed(name: str, installed: Sequence[str], only: Sequence[str]) -> str:
    if only and name not in only:
        return f"ENGINE={name} may not be loaded: ENGINEROOM_ENGINES allows only {', '.join(only)}"
    meant = suggest(name.lower(), installed)
    hint = f"did you mean {meant}?" if meant else "set it to one of these, or install the package that has it"
    return f"ENGINE: no engine called {name!r} is installed (installed: {', '.join(installed) or 'none'}); {hint}"


def _broken(manager: object, point: EntryPoint, error: BaseException) -> None:
    package = point.dist.name if point.dist else point.module
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    what = f"it needs the module {missing!r}" if missing else f"{type(error).__name__}: {error}"
    again = how_to_install(package, "--force-reinstall")
    raise PluginError(
        f"the engine {point.name!r} of {package} cannot be loaded: {what}; to install it again: {again}"
    ) from error
