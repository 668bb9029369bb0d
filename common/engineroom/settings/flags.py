"""An engine's command-line flags as settings: UPPER_SNAKE of each, known from a snapshot of its real parser.

A snapshot is a JSON file dumped from the engine's own parser, one for each supported version and never edited by
hand; `make drift` compares it with the engine. It is read here in milliseconds, so a wrong value is said without
importing the engine.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..errors import Problems
from .base import Setting
from .environment import Environment
from .json_values import parse_json
from .limits import Limits
from .other_names import OtherName
from .suggestions import suggest
from .values import plain

if TYPE_CHECKING:
    from typing_extensions import Self

_TRUE = {"1", "true", "yes", "on", "t", "y"}
_FALSE = {"0", "false", "no", "off", "f", "n"}
_SUFFIXED = re.compile(r"^(-?\d+(?:\.\d+)?)([kKmMgGtT]?)$")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_MANY_CHOICES = 12
"""More than these are not all told to somebody who meant one of them."""


class Flag(msgspec.Struct, frozen=True):
    """One flag, as its parser describes it.

    kind: `int`, `suffixed_int` (`2k`, `1M`), `float`, `str`, `json`, `choice`, `list`, `bool` (has a negative
        form), or `switch` (on when given).
    repeat: whether a `list` is written as the flag once for each of its items.
    item: what a `list` is made of: `str`, `int`, `float` or `json`.
    ge, gt, le, lt: the range of its number, or of each number in its list, see `Limits`.
    shape: what its JSON must be, `object` or `list`; any where None.
    keys: those that its JSON object may have; any where there are none.
    plugin: the flag that names a file with more choices; where that is set, any word may be one.
    """

    name: str
    flags: tuple[str, ...]
    kind: str
    choices: tuple[str, ...] | None = None
    item: str = "str"
    default: str | None = None
    help: str | None = ""
    group: str | None = ""
    negative: str | None = None
    repeat: bool = False
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    shape: str | None = None
    keys: tuple[str, ...] = ()
    plugin: str | None = None

    @property
    def limits(self) -> Limits:
        return Limits(self.ge, self.gt, self.le, self.lt)

    @property
    def variable(self) -> str:
        return self.name.upper()

    def parse(self, text: str, *, more_choices: bool = False) -> Any:
        """The value that `text` stands for.

        Args:
            more_choices: whether there may be choices that the snapshot does not have.

        Raises:
            ValueError: saying what is expected instead.
        """
        if self.kind in ("bool", "switch"):
            return _boolean(text)
        if self.kind == "list":
            return [self._limited(_scalar(self.item, part), part) for part in _split(text, self.item)]
        if self.kind == "json":
            return parse_json(text, self.shape, self.keys)
        if self.choices and not more_choices:
            return self._choice(plain(text))
        return self._limited(_scalar(self.kind, text), text)

    def _choice(self, text: str) -> str:
        """The choice that is meant, as the engine's parser spells it."""
        choices = self.choices or ()
        if text in choices:
            return text
        by_folded = {_folded(choice): choice for choice in choices}
        if _folded(text) in by_folded:
            return by_folded[_folded(text)]
        near_miss = suggest(text, choices)
        hint = f"; did you mean {near_miss}?" if near_miss else ""
        if near_miss and len(choices) > _MANY_CHOICES:
            raise ValueError(f"has no {text!r}{hint}")
        raise ValueError(f"expected one of {', '.join(choices)}; got {text!r}{hint}")

    def _limited(self, value: Any, text: str) -> Any:
        """`value`, where it is in the flag's range or no number."""
        number = number_of(value) if self.kind == "suffixed_int" else value
        if isinstance(number, (int, float)) and not self.limits.allow(number):
            percent = self.le == 1 and 1 < number <= 100
            hint = f"; {number:g} % is {number / 100:g}" if percent else ""
            raise ValueError(f"expected {self.limits.words}; got {plain(text)!r}{hint}")
        return value

    def arguments(self, value: Any) -> list[str]:
        """The command line for a parsed value; nothing for a switch that is off."""
        flag = next((name for name in self.flags if name.startswith("--")), self.flags[0])
        if self.kind in ("bool", "switch"):
            if value:
                return [flag]
            return [self.negative] if self.negative else []
        if self.kind == "list":
            texts = [_text(item) for item in value]
            return [part for text in texts for part in (flag, text)] if self.repeat else [flag, *texts]
        return [f"{flag}={_text(value)}"]


class FlagTable(msgspec.Struct, frozen=True, dict=True):
    """The flags of one version of an engine.

    environ: environment variables that this version, or what it is built on, reads itself.
    """

    engine: str
    version: str
    flags: tuple[Flag, ...]
    environ: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a snapshot."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    @classmethod
    def nearest(cls, folder: Path, version: str | None) -> Self:
        """The snapshot in `folder` of that version, else of the nearest before it, else of the oldest there is.

        Args:
            folder: with a file for each version, `0.32.0.json`.
            version: `0.32.0+cpu` is 0.32.0; the newest where None.
        """
        there = sorted(folder.glob("*.json"), key=lambda path: version_numbers(path.stem))
        fits = [path for path in there if version is None or version_numbers(path.stem) <= version_numbers(version)]
        return cls.load((fits or there[:1])[-1])

    def without(self, aside: FlagsAside, engine: str | None = None) -> Self:
        """The table without the flags that are no settings, e.g. those that the worker gives itself.

        Args:
            engine: another way to write the engine's name, for people.
        """
        flags = tuple(flag for flag in self.flags if flag.variable not in aside.answers)
        return msgspec.structs.replace(self, engine=engine or self.engine, flags=flags)

    def with_defaults(self, defaults: Mapping[str, str]) -> Self:
        """The table with the defaults in force, where the worker gives a flag whenever the user does not.

        Args:
            defaults: by flag name, as environment variables would carry them.
        """
        replace = msgspec.structs.replace
        flags = tuple(replace(flag, default=defaults.get(flag.name, flag.default)) for flag in self.flags)
        return replace(self, flags=flags)

    @property
    def title(self) -> str:
        return f"{self.engine} {self.version}"

    @cached_property
    def by_variable(self) -> Mapping[str, Flag]:
        return {flag.variable: flag for flag in self.flags}

    def describe(self) -> Sequence[Setting]:
        kinds = {"int": "number", "float": "number", "bool": "boolean", "switch": "boolean", "json": "json"}
        return [
            Setting(
                name=flag.variable,
                kind=kinds.get(flag.kind, "string"),
                default=flag.default,
                help=flag.help or "",
                choices=flag.choices or (),
                limits=flag.limits.words,
                secret=_is_secret(flag.name),
            )
            for flag in self.flags
        ]

    def read(self, env: Environment, *, without: Sequence[str] = ()) -> dict[str, Any]:
        """Parsed values of all flags set in `env`, by flag name.

        Args:
            without: variables that are not to be taken as flags, since something else means them.

        Raises:
            SettingsError: naming each value that the engine would refuse.
        """
        problems = Problems()
        values = self.read_valid(env, problems, without=without)
        problems.check()
        return values

    def read_valid(self, env: Environment, problems: Problems, *, without: Sequence[str] = ()) -> dict[str, Any]:
        """The same, so that all else can be checked even where a value is wrong: that one is left out.

        Args:
            problems: what is wrong is added here; until it is checked, the values may not be used.
        """
        values: dict[str, Any] = {}
        for variable, flag in self.by_variable.items():
            if variable not in env or variable in without:
                continue
            try:
                values[flag.name] = flag.parse(env[variable], more_choices=(flag.plugin or "").upper() in env)
            except ValueError as error:
                problems.add(variable, str(error), env.source(variable))
        return values

    def argv(self, values: Mapping[str, Any]) -> list[str]:
        """The command line for parsed values, in the parser's own order."""
        return [part for flag in self.flags if flag.name in values for part in flag.arguments(values[flag.name])]


class FlagsAside(NamedTuple):
    """Flags of an engine that are no settings here, and what becomes of a variable that names one.

    A group of settings without a setting: it stands among an engine's groups, so that none of these flags can vanish.

    answers: variable -> what becomes of it; None where the worker or a door has a setting or an answer of that name.
    """

    title: str
    answers: Mapping[str, OtherName | None]

    @property
    def other_names(self) -> Mapping[str, OtherName]:
        """What becomes of each variable that is this engine's affair."""
        return {name: answer for name, answer in self.answers.items() if answer is not None}

    def describe(self) -> Sequence[Setting]:
        return ()


def of_other_versions(table: FlagTable, folder: Path) -> FlagsAside:
    """The flags that only other versions have, each refused with the newest version that has it.

    Args:
        table: the flags of the version that runs; all of them, so that none of its own counts as another's.
        folder: with the snapshot of each version.
    """
    answers: dict[str, OtherName | None] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: version_numbers(path.stem)):
        for flag in FlagTable.load(path).flags:
            if flag.variable not in table.by_variable:
                advice = f"{table.title} has no {flag.flags[0]} ({path.stem} does); remove it"
                answers[flag.variable] = OtherName("refused", advice=advice)
    return FlagsAside(f"{table.engine}'s other versions", answers)


class Variables(NamedTuple):
    """Environment variables that an engine reads itself: known, so that a settings file may hold them."""

    title: str
    names: tuple[str, ...]

    def describe(self) -> Sequence[Setting]:
        return [
            Setting(name, help="Read by the engine or by what it is built on.", secret=_is_secret(name))
            for name in self.names
        ]

    def read(self, env: Environment) -> dict[str, str]:
        """Those that are set, wherever they were set."""
        return {name: env[name] for name in self.names if name in env}


def version_beside(command: str, distribution: str) -> str | None:
    """The version of what a command was installed with, read off the files beside it: nothing is run or imported."""
    executable = shutil.which(command)
    if executable is None:
        return None
    packages = Path(executable).resolve().parents[1].glob(f"lib/python*/*-packages/{distribution}-*.dist-info")
    return next((path.name.removeprefix(f"{distribution}-").removesuffix(".dist-info") for path in packages), None)


def version_numbers(version: str) -> tuple[int, ...]:
    """`0.32.0+cpu` as (0, 32, 0), to compare versions by; what is no number counts as 0."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _boolean(text: str) -> bool:
    word = plain(text).lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError(f"expected true or false; got {text!r}")


def _scalar(kind: str, text: str) -> Any:
    if kind == "json":
        return parse_json(text)
    if kind == "str":
        return text.strip()
    text = plain(text)
    if kind == "int":
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"expected a whole number; got {text!r}") from None
    if kind == "suffixed_int":
        if not _SUFFIXED.fullmatch(text):
            raise ValueError(f"expected a whole number such as 4096 or 4k; got {text!r}")
        return text
    if kind == "float":
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"expected a number; got {text!r}") from None
    return text


def number_of(text: str) -> float:
    """A `suffixed_int` as a number: `4k` is 4000 and `4K` is 4096, small letters count in thousands."""
    suffix = text[-1] if text[-1].isalpha() else ""
    return float(text.removesuffix(suffix)) * float(1024 if suffix.isupper() else 1000) ** _POWERS[suffix.lower()]


def _folded(choice: str) -> str:
    """What spellings of one choice have in common; an engine that tells them apart has both among its choices."""
    return choice.casefold().replace("-", "_")


def _split(text: str, item: str) -> list[str]:
    text = text.strip()
    if text.startswith("["):
        try:
            return [part if isinstance(part, str) else _text(part) for part in msgspec.json.decode(text)]
        except msgspec.DecodeError as error:
            raise ValueError(f"expected a JSON list ({error})") from None
    if item == "json":
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _is_secret(name: str) -> bool:
    """Whether a flag or a variable holds a secret, by its name."""
    return re.search(r"api_key|token$|password|secret", name, re.IGNORECASE) is not None
