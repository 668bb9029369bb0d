"""What is installed: engines and doors by name, found through entry points, and the way from settings to an engine.

Engines are entry points in the group `engineroom.engines` (stevedore), the doors' settings in
`engineroom.door_settings`, so that the core can name every setting without importing a door.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from . import __version__
from .engine import Engine, RunningEngine
from .errors import EngineStartError, PluginError, Problem, Problems, SettingsError
from .installation import engines_at_hand, entry_points_of, how_to_install
from .models import reference
from .models.formats import FORMAT_NAMES, ModelFormat, adapter_base, formats_at, is_path
from .models.hub import HubError
from .models.names import misnamed
from .residence.entries import ModelEntry, read_entries
from .residence.settings import ResidenceSettings
from .selection import select
from .settings.base import Settings, SettingsGroup, comma_list
from .settings.environment import Environment
from .settings.known_names import KnownNames
from .settings.name_check import NameCheck, Notice
from .settings.suggestions import suggest
from .settings.usual_settings import USUAL_SETTINGS
from .settings.worker import WorkerSettings

ENGINES = "engineroom.engines"
DOOR_SETTINGS = "engineroom.door_settings"
SHARED = ("doors", "start")
"""Entry points of that group whose settings are every door's."""

logger = logging.getLogger(__name__)

SELECTED = "selected for MODEL_NAME"
"""The layer that has ENGINE where the user did not set it."""

Door = TypeVar("Door")
"""A door's own settings."""

Noted = TypeVar("Noted", Problem, Notice)


class EngineChoice(NamedTuple):
    """An engine and what it is configured from.

    env: with other programs' names and the engine's defaults applied.
    place: where it stands in the table of several models, `models[2]`; empty where there is one model.
    """

    engine: type[Engine]
    worker: WorkerSettings
    env: Environment
    place: str = ""

    def make(self) -> Engine:
        """A configured engine, to start."""
        return self.engine.configure(self.worker, self.env)

    def safer(self, error: EngineStartError) -> Engine | None:
        """Another engine, with settings that need less memory, after a start that ran out of it; None where the engine
        knows of none, and where the user has set all of them.

        What the user has set stays as it is. The log says what is changed, and what is not.
        """
        if not error.safer:
            return None
        # An empty number box of a form is sent as 0.
        stay = [name for name in error.safer if self.env.source(name) != "default" and self.env[name] != "0"]
        changes = {name: value for name, value in error.safer.items() if name not in stay}
        kept = " and ".join(f"{name}={self.env[name]} (from {self.env.source(name)})" for name in stay)
        if not changes:
            wanted = " and ".join(f"{name}={value}" for name, value in error.safer.items())
            logger.warning("no second start: %s is not changed; %s might fit into memory", kept, wanted)
            return None
        changed = " ".join(f"{name}={value}" for name, value in changes.items())
        logger.warning(
            "%s; starting once more with %s, which needs less memory%s: set this to begin with it",
            error,
            changed,
            f"; {kept} stays" if kept else "",
        )
        try:
            return self.engine.configure(self.worker, self.env.with_arguments(changes, "second start"))
        except SettingsError as problem:
            logger.warning("no second start with %s: %s", changed, problem)
            return None


@dataclass(frozen=True, slots=True)
class Setup(Generic[Door]):
    """An engine, not yet started, and what it and the door were configured from.

    engine: of several models it is what runs an engine for each, `ResidentModels`.
    door: the door's own settings.
    env: with other programs' names and the engine's defaults applied.
    names: what became of the names in it.
    choices: the engine and what it is configured from; of several models, those of each.
    make: gives another engine of the same settings.
    notes: what the user did not say and should know: which engine was selected, which of two models counts.
    """

    engine: RunningEngine
    worker: WorkerSettings
    door: Door
    env: Environment
    names: NameCheck
    choices: tuple[EngineChoice, ...]
    make: Callable[[], RunningEngine]
    notes: tuple[str, ...] = ()

    @property
    def has_table(self) -> bool:
        """Whether there are several models, or one that is the only one of a table."""
        return bool(self.choices[0].place)

    def log_notes(self) -> None:
        """Write the notes to the log, which is configured from these very settings."""
        for note in [*self.notes, *self.names.granted_lines()]:
            logger.info("%s", note)
        for notice in self.names.warnings:
            logger.warning("%s", notice)

    def new_engine(self) -> RunningEngine:
        """Another engine of the same settings, to start in the place of one that has died."""
        return self.make()

    def safer_engine(self, error: EngineStartError) -> Engine | None:
        """See `EngineChoice.safer`. Several models see to it themselves, each for itself."""
        return None if self.has_table else self.choices[0].safer(error)


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

    _check_version(point)
    name = point.name
    plugin = DriverManager[type[Engine]](ENGINES, name, on_load_failure_callback=_broken).extensions[0].plugin
    if not (isinstance(plugin, type) and issubclass(plugin, Engine)):
        raise PluginError(f"the engine {name!r} ({plugin!r}) is not an engineroom Engine")
    return plugin


def engine_class(env: Environment) -> tuple[type[Engine], Environment]:
    """The engine that the environment asks for, and the environment with other programs' names and that engine's
    defaults applied.

    Where ENGINE names none, it is one that can serve MODEL_NAME (`selection.select`), and the environment says so.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded, or none can serve the model.
        SettingsError: no engine is named, but a variable looks as if one was meant.
        HubError: which engine can could not be learnt from the hub.
    """
    recognised = _recognised(env, door=None)
    return recognised.engine, recognised.env


class _Recognised(NamedTuple):
    """The engine, the environment as it understands it, the names it was understood by, and what there is to say."""

    engine: type[Engine]
    env: Environment
    names: KnownNames
    notes: tuple[str, ...]


def _recognised(env: Environment, door: str | None) -> _Recognised:
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
            env = _with_model(env)
            name, reason = select(_loadable(only), env)
            env = env.with_arguments({"ENGINE": name}, SELECTED)
    engine = load_engine(name, only)
    names = known_names(engine, env, door)
    env = names.apply(env)
    notes = [note for note in (reason, _set_aside(names.apply(asked))) if note]
    if engine.model_formats:
        # An address may also say which revision, which engines call by names of their own.
        env = names.apply(_with_model(env))
    return _Recognised(engine, env.with_defaults(engine.defaults), names, tuple(notes))


def _set_aside(env: Environment) -> str:
    """That a model which one place names does not count, because a higher one names another; empty otherwise."""
    named = [(layer.name, layer.values["MODEL_NAME"]) for layer in env.layers if layer.values.get("MODEL_NAME")]
    if not named:
        return ""
    source, model = named[0]
    others = [f"{other} of the {place}" for place, other in named[1:] if other != model]
    return f"MODEL_NAME is {model}, from the {source}; {others[0]} does not count" if others else ""


def loadable(env: Environment) -> dict[str, type[Engine]]:
    """The engines installed that may load, by name; one that is broken is left out."""
    return _loadable(comma_list(env.get("ENGINEROOM_ENGINES", "")))


def _loadable(only: Sequence[str]) -> dict[str, type[Engine]]:
    engines = {}
    for name, point in _engine_points(only).items():
        try:
            engines[name] = _load(point)
        except PluginError:
            continue
    return engines


def _with_model(env: Environment) -> Environment:
    """The environment with MODEL_NAME as engines take it, where the user gave an address or `~/...`."""
    given = env.get("MODEL_NAME")
    if given is None:
        return env
    model = reference.parse(given, {**os.environ, **env})
    values = {"MODEL_NAME": model.name} if model.name != given else {}
    if model.revision and "MODEL_REVISION" not in env:
        values["MODEL_REVISION"] = model.revision
    return env.with_arguments(values, env.source("MODEL_NAME")) if values else env


def engines_for(formats: Collection[ModelFormat], only: Sequence[str] = ()) -> list[str]:
    """The engines installed that load weights of one of these formats, sorted. Each is imported; one that cannot be is
    left out.

    Args:
        only: where given, the engines that may load.
    """
    return [name for name, engine in _loadable(only).items() if set(engine.model_formats) & set(formats)]


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


def door_settings(door: str | None = None) -> list[SettingsGroup]:
    """The settings groups of all installed doors, by the entry points' names; or of one door, with what all share."""
    return [group for name, group in _door_groups().items() if _belongs(name, door)]


def _door_groups() -> dict[str, SettingsGroup]:
    """Every door's settings groups, by the entry points' names, sorted."""
    points = sorted(entry_points_of(DOOR_SETTINGS), key=lambda point: point.name)
    # Not by the distribution's name, which is read from a file each time.
    for point in {point.dist: point for point in points if point.dist}.values():
        _check_version(point)
    return {point.name: point.load() for point in points}


def _belongs(name: str, door: str | None) -> bool:
    """Whether an entry point's settings are of a door, or of all; of any door with None."""
    return door is None or name.partition("_")[0] in (door, *SHARED)


def common_settings() -> list[SettingsGroup]:
    """The groups of settings that are understood with every engine: the worker's and the doors'."""
    return [WorkerSettings, ResidenceSettings, *door_settings()]


def settings_groups(engine: type[Engine], env: Environment, door: str | None = None) -> list[SettingsGroup]:
    """Every group of settings that is understood with this engine: the worker's, the doors', the engine's.

    Args:
        door: leave out what belongs to other doors.
    """
    return [WorkerSettings, ResidenceSettings, *door_settings(door), *engine.settings(env)]


def known_names(engine: type[Engine], env: Environment, door: str | None = None) -> KnownNames:
    """Every name by which something can be set with this engine.

    Args:
        door: the door that is opened; what belongs to others has no effect. All of them where None.
    """
    doors = _door_groups()
    groups: list[SettingsGroup] = [WorkerSettings, ResidenceSettings, *doors.values(), *engine.settings(env)]
    idle = [group for name, group in doors.items() if not _belongs(name, door)]
    tables = [usual.table(engine.usual_settings.get(usual)) for usual in USUAL_SETTINGS]
    return KnownNames(
        groups,
        [*tables, engine.other_names],
        engines=engine_names(),
        namespaces=engine.namespaces,
        idle=idle,
        unset=engine.unset_values(env),
    )


def understood(engine: type[Engine], env: Environment) -> Environment:
    """The environment with other programs' names and an engine's defaults applied."""
    return known_names(engine, env).apply(env).with_defaults(engine.defaults)


def set_up(
    env: Environment, load_door: Callable[[WorkerSettings, Environment, NameCheck], Door], door: str | None = None
) -> Setup[Door]:
    """Read every setting once, and configure the engine from them.

    Args:
        load_door: reads the door's own settings, given the worker's, the environment with other programs' names and
            the engine's defaults, and what became of the names in it; raises SettingsError.
        door: the name under which the door's settings are registered, or None for no door in particular.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded.
        SettingsError: with every problem of the core's, the engine's and the door's settings, unknown names included.
    """
    if env.get("MODELS"):
        return _set_up_table(env, load_door, door)
    engine_type, env, names, notes = _recognised(env, door)
    checked = names.check(env)
    problems = Problems()
    problems.extend(checked.problems)
    worker = WorkerSettings.load_valid(env, problems)
    choice = EngineChoice(engine_type, worker, env)
    engine = _configured(choice, problems)
    doors: list[Door] = problems.collect(lambda: [load_door(worker, env, checked)], [])
    problems.check()
    assert engine is not None
    return Setup(engine, worker, doors[0], env, checked, (choice,), choice.make, notes)


def _configured(choice: EngineChoice, problems: Problems) -> Engine | None:
    """The engine, configured; None where a problem was added."""
    unusable_model = model_problem(choice.engine, choice.env)
    if unusable_model is not None:
        problems.extend([unusable_model])
    try:
        return choice.make()
    except SettingsError as error:
        # The engine's own word on a model that cannot be would only repeat ours.
        problems.extend(each for each in error.problems if each.variable != "MODEL_NAME" or not unusable_model)
        return None


_OF_ONE_MODEL = ("MODEL_NAME", "OPENAI_SERVED_MODEL_NAME_OVERRIDE", "SERVED_MODEL_NAME")
_OF_THE_WORKER = {"ENGINEROOM_ENGINES", "LOG_FORMAT", "LOG_LEVEL", "MAX_REQUEST_MB"}
"""Settings of `WorkerSettings` that are not an engine's own, so that an entry cannot have others than the worker."""


class _TableEntry(NamedTuple):
    """An entry with its engine, and what became of the names in its environment."""

    entry: ModelEntry
    choice: EngineChoice
    engine: Engine | None
    names: KnownNames
    checked: NameCheck
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def _set_up_table(
    env: Environment, load_door: Callable[[WorkerSettings, Environment, NameCheck], Door], door: str | None
) -> Setup[Door]:
    """As `set_up`, of several models."""
    from .residence.engines import ConfiguredModel
    from .residence.estimates import gpu_share, weights_size
    from .residence.machine_memory import machine_memory
    from .residence.resident_models import ResidentModels

    problems = Problems()
    doors = _door_groups()
    idle = [group for name, group in doors.items() if not _belongs(name, door)]
    shared = KnownNames([WorkerSettings, ResidenceSettings, *doors.values()], idle=idle, engines=engine_names())
    env = shared.apply(env)
    for name in _OF_ONE_MODEL:
        if name in env:
            message = "is of one model, and MODELS has several: put it into the table, or unset MODELS"
            problems.add(name, message, env.source(name))
    worker = WorkerSettings.load_valid(env, problems)
    residence = ResidenceSettings.load_valid(env, problems)
    entries = read_entries(residence, env, problems)
    table = [_table_entry(entry, env, door, problems) for entry in entries]
    checked = _of_all(shared.check(env), [row for row in table if row is not None])
    problems.extend(checked.problems)
    loaded: list[Door] = problems.collect(lambda: [load_door(worker, env, checked)], [])
    problems.check()
    rows = [row for row in table if row is not None]
    models = [
        ConfiguredModel(
            row.entry,
            row.choice.engine.name,
            row.choice.make,
            row.choice.safer,
            weights_size(row.choice.engine, row.choice.env),
            gpu_share(row.choice.engine, row.choice.env),
        )
        for row in rows
    ]

    def resident_models(first: Mapping[str, Engine]) -> ResidentModels:
        return ResidentModels(models, first, residence, machine_memory({**os.environ, **env}), worker.max_body)

    engine = resident_models({row.entry.name: row.engine for row in rows if row.engine is not None})
    notes = tuple(f"{row.entry.name}: {note}" for row in rows for note in row.notes)
    choices = tuple(row.choice for row in rows)
    return Setup(
        engine,
        worker,
        loaded[0],
        env,
        checked,
        choices,
        lambda: resident_models({model.entry.name: model.make() for model in models}),
        notes,
    )


def table_choices(env: Environment) -> list[EngineChoice]:
    """The engines of a table of several models, as far as they can be read; none where there is no table."""
    if not env.get("MODELS"):
        return []
    ignored = Problems()
    residence = ResidenceSettings.load_valid(env, ignored)
    rows = [_table_entry(entry, env, None, ignored) for entry in read_entries(residence, env, ignored)]
    return [row.choice for row in rows if row is not None]


def _table_entry(entry: ModelEntry, env: Environment, door: str | None, problems: Problems) -> _TableEntry | None:
    """An entry with its engine; None where there is none to be had, with a problem that says why."""
    served = json.dumps([*entry.names])
    values = {"OPENAI_SERVED_MODEL_NAME_OVERRIDE": served, **entry.settings}
    own = Problems()
    row: _TableEntry | None = None
    try:
        engine_type, entry_env, names, notes = _recognised(env.with_arguments(values, entry.place), door)
    except SettingsError as error:
        own.extend(error.problems)
    except (PluginError, HubError) as error:
        variable = "ENGINE" if isinstance(error, PluginError) else "MODEL_NAME"
        elsewhere = variable not in entry.settings and variable in env
        own.add(variable, str(error).removeprefix(f"{variable}: "), env.source(variable) if elsewhere else "")
    else:
        checked = names.check(entry_env)
        of_entry = [problem for problem in checked.problems if problem.source.startswith(entry.place)]
        own.extend(entry.near_own_key(problem) for problem in of_entry)
        # In a table everything is meant for us: what would be a warning elsewhere is a mistake here.
        unheeded = [notice for notice in checked.warnings if notice.source.startswith(entry.place)]
        own.extend(entry.near_own_key(Problem(each.variable, each.message, each.source)) for each in unheeded)
        _check_whose(entry, names, own)
        choice = EngineChoice(engine_type, WorkerSettings.load_valid(entry_env, own), entry_env, entry.place)
        engine = _configured(choice, own)
        others = tuple(problem for problem in checked.problems if problem not in of_entry)
        row = _TableEntry(entry, choice, engine, names, checked, notes, others)
    problems.extend(entry.located(problem) for problem in own)
    return row


def _check_whose(entry: ModelEntry, names: KnownNames, problems: Problems) -> None:
    """That an entry sets nothing that is the whole worker's."""
    groups: list[SettingsGroup] = [ResidenceSettings, *door_settings()]
    of_worker = {name for group in groups for setting in group.describe() for name in setting.names} | _OF_THE_WORKER
    for variable in entry.settings:
        setting = names.meaning_of(variable)
        if setting in of_worker:
            message = "is a setting of the whole worker, not of one model: set it beside the table"
            problems.add(variable, message, entry.place)


def _of_all(shared: NameCheck, rows: Sequence[_TableEntry]) -> NameCheck:
    """What became of the names in the worker's own environment: one counts as unknown only where no engine knows it."""
    if not rows:
        return shared

    def in_no_engine(noted: Iterable[Noted]) -> list[Noted]:
        unknown = [each for each in noted if not any(row.names.knows(each.variable) for row in rows)]
        return list({each.variable: each for each in reversed(unknown)}.values())

    problems = in_no_engine([*shared.problems, *(problem for row in rows for problem in row.problems)])
    notices = in_no_engine([n for row in rows for n in row.checked.notices if not n.source.startswith(row.entry.place)])
    return NameCheck(problems, notices, shared.idle)


def check(env: Environment) -> Setup[list[Settings]]:
    """Check whatever a start would check before it loads a model, for each of the doors that are installed.

    Raises:
        SettingsError: with every problem; that the engine cannot be loaded is one of them, under ENGINE, and that none
            can be chosen for the model, under MODEL_NAME.
    """
    try:
        return set_up(env, _load_doors)
    except (PluginError, HubError) as error:
        problems = Problems()
        WorkerSettings.load_valid(env, problems)
        _read_doors(env, problems)
        variable = "ENGINE" if isinstance(error, PluginError) else "MODEL_NAME"
        message = str(error).removeprefix(f"{variable}: ")
        problems.add(variable, message, env.source(variable) if variable in env else "")
        problems.check()
        raise


def _load_doors(worker: WorkerSettings, env: Environment, names: NameCheck) -> list[Settings]:
    """The settings of every door that is installed. Raises SettingsError with what is wrong in any of them."""
    problems = Problems()
    settings = _read_doors(env, problems)
    for group in settings:
        problems.extend(group.check_names(env, names))
    problems.check()
    return settings


def _read_doors(env: Environment, problems: Problems) -> list[Settings]:
    groups = [group for group in door_settings() if isinstance(group, type) and issubclass(group, Settings)]
    return [group.load_valid(env, problems) for group in groups]


def open_engine(env: Environment) -> RunningEngine:
    """The configured engine, not yet started, where there is no door: in a test, or in a program that embeds it.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded.
        SettingsError: with every problem of the core's and the engine's settings, unknown names included.
    """
    setup = set_up(env, lambda worker, env, names: None)
    setup.log_notes()
    return setup.engine


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


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value


def _only_one(installed: Sequence[str]) -> str:
    if len(installed) == 1:
        return installed[0]
    if installed:
        raise PluginError(f"several engines are installed; set ENGINE to one of: {', '.join(installed)}")
    raise PluginError(no_engine())


def no_engine() -> str:
    """That no engine is installed, and how to get one."""
    here = engines_at_hand()
    if not here:
        return "no engine is installed; `pip install engineroom-<engine>` installs one"
    listed = ", ".join(here)
    return f"no engine is installed; of those in this clone ({listed}): {how_to_install(f'engineroom-{here[0]}')}"


def _not_installed(name: str, installed: Sequence[str], only: Sequence[str]) -> str:
    if only and name not in only:
        return f"ENGINE={name} may not be loaded: ENGINEROOM_ENGINES allows only {', '.join(only)}"
    meant = suggest(name.lower(), installed)
    hint = f"did you mean {meant}?" if meant else "set it to one of these, or install the package that has it"
    return f"ENGINE: no engine called {name!r} is installed (installed: {', '.join(installed) or 'none'}); {hint}"


def _check_version(point: EntryPoint) -> None:
    """Refuse a distribution that pins another version of the core: pip only warns of it, and not always.

    Raises:
        PluginError: it does.
    """
    for requirement in (point.dist.requires if point.dist else None) or ():
        pin = re.match(r"engineroom==([\w.]+)", requirement)
        if pin and point.dist and pin[1] != __version__:
            again = how_to_install(point.dist.name, "--force-reinstall")
            raise PluginError(
                f"{point.dist.name} {point.dist.version} is for engineroom {pin[1]}, and {__version__} is installed; "
                f"to install the one that fits: {again}"
            )


def _broken(manager: object, point: EntryPoint, error: BaseException) -> None:
    package = point.dist.name if point.dist else point.module
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    what = f"it needs the module {missing!r}" if missing else f"{type(error).__name__}: {error}"
    again = how_to_install(package, "--force-reinstall")
    raise PluginError(
        f"the engine {point.name!r} of {package} cannot be loaded: {what}; to install it again: {again}"
    ) from error
