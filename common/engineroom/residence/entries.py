"""The table of models: what stands in MODELS, read and checked, each mistake with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import Problem, Problems, SettingsError
from ..settings.environment import Environment, as_text, read_mapping
from ..settings.files import read_text
from ..settings.near_names import in_capitals
from .settings import ResidenceSettings

OWN_KEYS = ("name", "aliases", "memory", "ttl", "pinned", "preload", "groups")
"""What an entry says of the model on this worker; all else in it are settings of its engine."""

_NAMES = {"OPENAI_SERVED_MODEL_NAME_OVERRIDE", "SERVED_MODEL_NAME"}
_MODEL = ("MODEL_NAME", "MODEL")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(:.+)?")
_NEAR = 0.65
"""How alike two words are, of 1, that one may have been meant for the other."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of the table.

    place: where it stands, `models[2]`.
    source: the file, or whatever else the table is from, for people.
    name: what clients ask for. aliases: other names for the same.
    settings: names of settings -> values, which come before the worker's own.
    written: names of settings -> as the table has them.
    memory: bytes that it needs, as declared; None where nothing is.
    ttl_s: seconds without a request after which it is unloaded; None for never.
    pinned: never unloaded to make room.
    preload: loaded at the start, where there is room.
    groups: of the models that are in groups, those that are loaded together are all in one.
    """

    place: str
    source: str
    name: str
    aliases: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    memory: int | None = None
    ttl_s: float | None = None
    pinned: bool = False
    preload: bool = False
    groups: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """All the names that clients may ask for, its own first."""
        return (self.name, *self.aliases)

    def located(self, problem: Problem) -> Problem:
        """A problem of one of its settings, with the setting's place in the table; one whose value is from elsewhere
        stays as it is."""
        if problem.source and not problem.source.startswith(self.place):
            return problem
        return Problem(f"{self.place}.{self._key(problem)}", problem.message, self.source)

    def near_own_key(self, problem: Problem) -> Problem:
        """A problem of a name that is no setting, with the key that was meant where it is near to one of an entry's."""
        key = self.written.get(problem.variable, "").lower()
        near = get_close_matches(key, OWN_KEYS, n=1, cutoff=_NEAR)
        return problem._replace(message=f"no such key; did you mean {near[0]}?") if near else problem

    def _key(self, problem: Problem) -> str:
        """What the table calls the setting of a problem."""
        other_name = problem.source.partition(" as ")[2]
        usual = ("MODEL",) if problem.variable == "MODEL_NAME" else ()
        for name in (other_name, problem.variable, *usual):
            if name in self.written:
                return self.written[name]
        return "model" if usual else problem.variable.lower()


def read_entries(settings: ResidenceSettings, env: Environment, problems: Problems) -> tuple[ModelEntry, ...]:
    """The models that MODELS has; none where it is not set. What can be read of an entry with mistakes is there, too.

    Args:
        problems: everything that is wrong in the table itself is added here. Values of secrets are not quoted.
    """
    if settings.models is None:
        return ()
    text = settings.models.get_secret_value()
    try:
        listed, source = _listed(text, env.source("MODELS"))
    except SettingsError as error:
        problems.extend(error.problems)
        return ()
    read = [_entry(number, value, source, problems) for number, value in enumerate(listed)]
    entries = [entry for entry in read if entry is not None]
    _check_names(entries, problems)
    _check_room(entries, settings, problems)
    return tuple(entries)


def _listed(value: str, origin: str) -> tuple[list[Any], str]:
    """The table's entries as they are written, and what to call their source."""
    import yaml

    inline = value.lstrip().startswith(("[", "{"))
    source = origin
    if inline:
        try:
            content = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            reason = getattr(error, "problem", None) or type(error).__name__
            raise SettingsError([Problem("MODELS", f"is not valid YAML or JSON: {reason}", origin)]) from None
    else:
        path = Path(value).expanduser()
        source = str(path)
        if not path.exists() and _REPOSITORY.fullmatch(value.strip()):
            message = f"there is no file {value}, where a list of models stands; one model is named by MODEL_NAME"
            raise SettingsError([Problem("MODELS", message, origin)])
        content = _content(path)
    if isinstance(content, dict) and content.keys() == {"models"}:
        content = content["models"]
    if not isinstance(content, list):
        message = "must be a list of models, each with its name and its settings (`- name: …`), alone or as `models:`"
        raise SettingsError([Problem("MODELS", message, source)])
    if not content:
        raise SettingsError([Problem("MODELS", "has no model; name at least one, or unset MODELS", source)])
    return content, source


def _content(path: Path) -> Any:
    """What a YAML or JSON file holds. Raises SettingsError where it cannot be read."""
    import yaml

    text = read_text(path, "MODELS")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        # It says what is wrong, and in which line.
        return read_mapping(path, "MODELS")


def _entry(number: int, value: Any, source: str, problems: Problems) -> ModelEntry | None:
    place = f"models[{number}]"
    if not isinstance(value, dict):
        problems.add(place, "must be a mapping: `name`, `model`, and settings of its engine", source)
        return None
    reader = _EntryReader(place, source, problems)
    own: dict[str, Any] = {}
    settings: dict[str, str] = {}
    written: dict[str, str] = {}
    for key, held in value.items():
        key = str(key)
        lower = key.lower()
        if lower in OWN_KEYS:
            own[lower] = held
            continue
        variable = in_capitals(key)
        if variable in written:
            problems.add(f"{place}.{key}", f"stands here twice, as {written[variable]}, too", source)
        written[variable] = key
        settings[variable] = as_text(held)
        if variable in _NAMES:
            problems.add(f"{place}.{key}", "clients ask for `name` and `aliases` here; use these", source)
    return ModelEntry(
        place=place,
        source=source,
        name=reader.text("name", own.get("name")) or _default_name(settings, reader),
        aliases=reader.texts("aliases", own.get("aliases")),
        settings=settings,
        written=written,
        memory=reader.size("memory", own.get("memory")),
        ttl_s=reader.seconds("ttl", own.get("ttl")),
        pinned=reader.truth("pinned", own.get("pinned")),
        preload=reader.truth("preload", own.get("preload")),
        groups=frozenset(reader.texts("groups", own.get("groups"))),
    )


def _default_name(settings: Mapping[str, str], reader: _EntryReader) -> str:
    """The model itself, where no name is given: a repository by its own name, a file or folder by its last part."""
    model = next((settings[key] for key in _MODEL if settings.get(key)), "")
    if not model:
        reader.wrong("name", "is missing: what do clients ask for?")
        return reader.place
    is_file = model.startswith(("/", "~", ".")) or model.endswith(".gguf")
    return Path(model).name.removesuffix(".gguf") if is_file else model


class _EntryReader:
    """Reads an entry's own keys; what is wrong with them is added to `problems`."""

    def __init__(self, place: str, source: str, problems: Problems) -> None:
        self.place = place
        self._source = source
        self._problems = problems

    def wrong(self, key: str, message: str) -> None:
        self._problems.add(f"{self.place}.{key}", message, self._source)

    def text(self, key: str, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, (dict, list, bool)) or not str(value).strip():
            self.wrong(key, "expected a name")
            return ""
        return str(value).strip()

    def texts(self, key: str, value: Any) -> tuple[str, ...]:
        if value is None:
            return ()
        parts = value if isinstance(value, list) else str(value).split(",")
        if isinstance(value, dict) or any(isinstance(part, (dict, list)) or part is None for part in parts):
            self.wrong(key, "expected a list of names")
            return ()
        return tuple(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))

    def truth(self, key: str, value: Any) -> bool:
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        text = str(value).strip().lower()
        if value is not None and text not in words:
            self.wrong(key, f"expected true or false; got {value!r}")
        return words.get(text, False)

    def seconds(self, key: str, value: Any) -> float | None:
        if value is None:
            return None
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = -1.0
        if isinstance(value, bool) or not 0 < seconds < float("inf"):
            self.wrong(key, f"expected a number of seconds, more than 0; got {value!r}")
            return None
        return seconds

    def size(self, key: str, value: Any) -> int | None:
        if value is None:
            return None
        if value == 0 and not isinstance(value, bool):
            return 0
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.wrong(key, f"expected a size with its unit, `6 GB` or `800 MiB`, or 0 for none; got {value!r}")
            return None
        return int(float(match[1]) * _UNITS[match[2].upper()])


def _check_names(entries: Sequence[ModelEntry], problems: Problems) -> None:
    places: dict[str, str] = {}
    for entry in entries:
        for name in dict.fromkeys(entry.names):
            if name in places:
                key = "name" if name == entry.name else "aliases"
                problems.add(f"{entry.place}.{key}", f"{name} is {places[name]}'s name already", entry.source)
            places.setdefault(name, entry.place)


def _check_room(entries: Sequence[ModelEntry], settings: ResidenceSettings, problems: Problems) -> None:
    """That every model may be loaded at some time, beside those that are pinned."""
    pinned = [entry for entry in entries if entry.pinned]
    budget = settings.models_memory_gb * 1e9 if settings.models_memory_gb else None
    for entry in entries:
        others = [other for other in pinned if other is not entry]
        memory = sum(other.memory or 0 for other in others)
        beside = f" beside what is pinned ({_gb(memory)} GB)" if memory else ""
        if budget is not None and entry.memory and entry.memory + memory > budget:
            message = f"{_gb(entry.memory)} GB never fit into MODELS_MEMORY_GB={settings.models_memory_gb:g}{beside}"
            problems.add(f"{entry.place}.memory", message, entry.source)
        grouped = [other.groups for other in others if other.groups]
        if entry.groups and grouped and not entry.groups.intersection(*grouped):
            names = ", ".join(other.name for other in others if other.groups)
            message = f"shares no group with {names}, which is pinned, so it could never be loaded"
            problems.add(f"{entry.place}.groups", message, entry.source)


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g}"
