"""Every name by which something can be set, applied to an environment: what is taken, refused, or only near.

A wish is granted, refused, or answered with a warning, and never passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

from ..errors import Problem
from .base import Setting, SettingsGroup
from .environment import Environment, Layer
from .name_check import NameCheck, Notice
from .near_names import NearNames, in_capitals, is_link
from .other_names import OtherName
from .secret_files import file_variable
from .suggestions import suggest

_OF_CORE = ("ENGINEROOM_CONFIG", "ENGINEROOM_BAKED_ARGS", "ENGINEROOM_SECRETS_DIR")
_SET_BY_IMAGES = {"HOST", "PORT", "WORKER"}
_WITH_SECTIONS = "files with sections are for `engineroom deploy`"
_SECTION = (
    f"is a section, and a worker's file has one value for each setting, by the setting's own name; {_WITH_SECTIONS}"
)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_BOOLEANS = {"1", "true", "yes", "on", "0", "false", "no", "off"}


class KnownNames:
    """The names of settings, and those that programs elsewhere have for them.

    Args:
        groups: the settings that are understood.
        tables: what becomes of other programs' names; a later table wins over an earlier one.
        engines: names of engines, which their own variables often begin with.
        namespaces: what all variables of the engine begin with.
        idle: those of the groups that nothing reads now; other names for them stop no start.
        unset: variables -> values of theirs that count as not set.
    """

    def __init__(
        self,
        groups: Iterable[SettingsGroup],
        tables: Iterable[Mapping[str, OtherName]] = (),
        engines: Collection[str] = (),
        namespaces: Sequence[str] = (),
        idle: Collection[SettingsGroup] = (),
        unset: Mapping[str, Collection[str]] = MappingProxyType({}),
    ) -> None:
        groups = tuple(groups)
        self._idle = {name for group in idle for setting in group.describe() for name in setting.names}
        self._idle -= _SET_BY_IMAGES
        self._idle -= {n for group in groups if group not in idle for s in group.describe() for n in s.names}
        self._settings = {name: setting for group in groups for setting in group.describe() for name in setting.names}
        self._settings |= {name: Setting(name) for name in _OF_CORE}
        merged: dict[str, OtherName] = {}
        for table in [*(_table(group, idle=group in idle) for group in groups), *tables]:
            merged.update(table)
        others = {name: other for name, other in merged.items() if name not in self._settings}
        self._others = {name: _followed(other, others) for name, other in others.items()}
        self._secrets = {name: setting for name, setting in self._settings.items() if setting.secret}
        files = {file_variable(name): setting.name for name, setting in self._secrets.items()}
        self._secret_files = {
            variable: ours
            for variable, ours in files.items()
            if variable not in self._settings and variable not in self._others
        }
        self._other_secrets = [name for name, other in self._others.items() if self._is_taken_as_secret(other)]
        self._engines = engines
        self._unset = unset
        self._namespaces = tuple(namespaces)

    def apply(self, env: Environment) -> Environment:
        """The environment in which each value under a name that is taken counts as ours', and each secret that stands
        in a file, without those that count as not set, by either name, and without sections for settings that take a
        text."""
        env = env.without_sections(lambda name: bool(self._setting(name)) and not self._takes_json(name))
        env = env.with_secrets([*self._secrets, *self._other_secrets], self._secret_files)
        return env.with_unset(self._unset).with_other_names(self._others).with_unset(self._unset)

    def knows(self, name: str) -> bool:
        """Whether a name is a setting, or stands for one."""
        return name in self._settings or name in self._others

    def meaning_of(self, name: str) -> str | None:
        """The setting that a name is, stands for, or is near to; None where it is none of these."""
        known = name
        if name not in self._settings and name not in self._others:
            near = self._near.of(name)
            known = near.known if near else ""
        return (self._ours(known) or None) if known else None

    def taken_as(self, setting: str) -> tuple[str, ...]:
        """The other names that mean exactly this setting."""
        return tuple(name for name, other in self._others.items() if other.outcome == "taken" and other.ours == setting)

    def check(self, env: Environment) -> NameCheck:
        """What becomes of every name in an environment to which the names are applied."""
        problems: list[Problem] = []
        notices: list[Notice] = []
        idle: dict[str, None] = {}
        for layer in env.layers:
            if layer.name == "default":
                continue
            problems += [each for name, each in layer.unreadable.items() if self._is_ours(name)]
            notices += self._not_read(layer)
            refused = [name for name in layer.sections if not self._takes_json(name)]
            problems += [Problem(name, _SECTION, layer.name) for name in refused]
            for name, value in layer.values.items():
                if name in self._secret_files:
                    notices += self._named_file(name, layer)
                    continue
                if name in refused:
                    continue
                if not value or name in self._settings:
                    if value and name in self._idle and name not in layer.renamed:
                        idle[name] = None
                    continue
                if not layer.owned and is_link(name, value):
                    continue
                other = self._others.get(name)
                result: Problem | Notice | None
                if not layer.owned and not _VARIABLE.fullmatch(name):
                    result = self._not_in_capitals(name, layer)
                elif other is not None:
                    result = _answer(name, other, layer, env)
                else:
                    result = self._unknown(name, value, layer)
                if isinstance(result, Notice):
                    notices.append(result)
                elif result is not None:
                    problems.append(result)
        return NameCheck(problems, notices, tuple(idle))

    def mistyped(self, setting: str, env: Environment) -> list[Problem]:
        """Problems for variables that look as if `setting` was meant, however unsurely."""
        problems = []
        for layer in env.layers:
            for name, value in layer.values.items():
                if not value or name in self._settings or name in self._others or not _VARIABLE.fullmatch(name):
                    continue
                near = self._near.of(name)
                if near is not None and self._ours(near.known) == setting:
                    problems.append(Problem(name, self._correction(near.known), layer.name))
        return problems

    def _is_taken_as_secret(self, other: OtherName) -> bool:
        return other.outcome == "taken" and other.ours in self._secrets

    def _is_ours(self, name: str) -> bool:
        return name in self._settings or name in self._secret_files or name in self._other_secrets

    def _named_file(self, variable: str, layer: Layer) -> list[Notice]:
        """What to say of a variable that names a secret's file: something where the secret itself is set beside it."""
        ours = self._secret_files[variable]
        names = self._settings[ours].names
        if variable in layer.unreadable or variable in (layer.renamed.get(name) for name in names):
            return []
        if not layer.values[variable]:
            return []
        return [Notice(variable, layer.name, ours, f"is not used: {ours} is set, too (from {layer.source(ours)})")]

    def _not_read(self, layer: Layer) -> list[Notice]:
        """What to say of files among the secrets that are called after a setting, or nearly, and are not read."""
        notices = []
        for name, file in layer.files.items():
            setting = self._settings.get(name)
            if setting is not None and not setting.secret:
                advice = f"only secrets are read from there: set {name} as a variable"
                notices.append(Notice(name, str(file), name, f"is not used: {advice}"))
            elif setting is None and name not in self._other_secrets and _VARIABLE.fullmatch(name):
                near = self._near.of(name)
                if near is not None and self._ours(near.known) in self._secrets:
                    ours = self._ours(near.known)
                    notices.append(Notice(name, str(file), ours, f"is not used: call the file {ours.lower()}"))
        return notices

    @cached_property
    def _near(self) -> NearNames:
        return NearNames(self._settings, {**self._others, **self._secret_files}, self._engines)

    def _unknown(self, name: str, value: str, layer: Layer) -> Problem | Notice | None:
        """What to say of a name that is nobody's: in a file of ours always something, elsewhere where it is near."""
        near = self._near.of(name)
        if layer.owned:
            if layer.sections and (near is None or near.likelihood != "sure"):
                return Problem(name, f"no such setting; {_WITH_SECTIONS}", layer.name)
            meant = near.known if near else suggest(name, [*self._settings, *self._others])
            if meant is None:
                return Problem(name, "no such setting; `engineroom config --all` lists them all", layer.name)
            return Problem(name, self._correction(meant), layer.name)
        if near is None:
            if name.startswith("ENGINEROOM_"):
                return Problem(name, "no such setting; `engineroom config --all` lists them all", layer.name)
            if name.startswith(self._namespaces):
                return Notice(name, layer.name, "", "is ignored: there is no such setting here")
            return None
        other = self._others.get(near.known)
        if other is not None and other.outcome in ("doubted", "dropped"):
            message = f"is not used: it looks like {near.known}, but {other.advice}"
            if other.ours:
                message = f"is not used: {self._correction(near.known)}"
            return Notice(name, layer.name, other.ours, message)
        sure = near.likelihood == "sure"
        if near.likelihood == "likely":
            fits = _fits(self._setting(near.known), value)
            if fits is False and layer.name == "environment":
                return None
            sure = bool(fits)
        if sure:
            return Problem(name, self._correction(near.known), layer.name)
        return Notice(name, layer.name, self._ours(near.known), f"is not used: {self._correction(near.known)}")

    def _not_in_capitals(self, name: str, layer: Layer) -> Problem | Notice | None:
        """What to say of a setting's name in small letters, or with dashes: in the process's environment and in `.env`
        only capitals count.
        """
        capitals = in_capitals(name)
        known = capitals in self._settings or (capitals in self._others and self._others[capitals].ours)
        if not known or layer.values.get(capitals):
            return None
        message = f"no such setting; settings are written in capitals: did you mean {self._ours(capitals)}?"
        # Other programs' variables may be in small letters, too, but those of one file are mostly meant for its reader.
        if layer.name == ".env" and capitals in self._settings:
            return Problem(name, message, layer.name)
        return Notice(name, layer.name, self._ours(capitals), f"is not used: {message}")

    def _ours(self, known: str) -> str:
        """The setting that a known name stands for."""
        return self._others[known].ours if known in self._others else known

    def _setting(self, known: str) -> Setting | None:
        return self._settings.get(self._ours(known))

    def _takes_json(self, name: str) -> bool:
        setting = self._setting(name)
        return setting is not None and setting.kind == "json"

    def _correction(self, known: str) -> str:
        return f"no such setting; did you mean {self._ours(known) or known}?"


def _table(group: SettingsGroup, *, idle: bool) -> Mapping[str, OtherName]:
    """The other names of a group's settings; where nothing reads these now, nothing has to be refused."""
    other_names: Mapping[str, OtherName] = getattr(group, "other_names", {})
    if not idle:
        return other_names
    return {
        name: replace(other, outcome="doubted") if other.outcome == "refused" else other
        for name, other in other_names.items()
    }


def _followed(other: OtherName, table: Mapping[str, OtherName]) -> OtherName:
    """Where what is meant is itself an engine's other name, the setting that it ends in."""
    following = table.get(other.ours)
    if following is None or following.outcome != "taken" or following.convert is not None:
        return other
    return OtherName(other.outcome, following.ours, other.advice, other.convert)


def _answer(name: str, other: OtherName, layer: Layer, env: Environment) -> Problem | Notice:
    """What to say of another program's name."""
    if other.outcome == "taken":
        if layer.renamed.get(other.ours) == name and env.source(other.ours) == layer.source(other.ours):
            return Notice(name, layer.name, other.ours, f"is taken as {other.ours}", granted=True)
        value = layer.values[name]
        if env.get(other.ours) == (other.convert(value) if other.convert else value):
            return Notice(name, layer.name, other.ours, f"is the same as {other.ours}", granted=True)
        message = f"is not used: {other.ours} is set, too (from {env.source(other.ours)})"
        return Notice(name, layer.name, other.ours, message)
    if other.outcome == "dropped":
        return Notice(name, layer.name, other.ours, f"is ignored: {other.remedy}")
    if env.source(other.ours) != "default":
        return Notice(name, layer.name, other.ours, f"is not used: {other.ours} is set")
    if layer.owned or other.outcome == "refused":
        return Problem(name, f"no such setting; {other.remedy}", layer.name)
    return Notice(name, layer.name, other.ours, f"is not used here; {other.remedy}")


def _fits(setting: Setting | None, value: str) -> bool | None:
    """Whether a value could be meant for a setting; None where any text could."""
    if setting is None:
        return None
    text = value.strip().lower()
    if setting.choices:
        return text in {choice.lower() for choice in setting.choices}
    if setting.kind == "boolean":
        return text in _BOOLEANS
    if setting.kind == "number":
        return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None
    if setting.kind == "json":
        return text.startswith(("{", "["))
    return None
