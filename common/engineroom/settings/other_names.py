"""Names by which programs elsewhere call what can be set here, and what becomes of each.

A setting's owner keeps the table: a settings model in `other_names`, an engine in `Engine.other_names` and
`Engine.usual_settings`. `known_names` applies them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["taken", "refused", "doubted", "dropped"]
"""What becomes of a value under another name.

taken: the name means exactly what ours does, so the value counts as ours, and a line of the log says so.
refused: the name means nearly that, or its values are written in another way; the start ends with an error.
doubted: perhaps another program of this machine is meant. Refused in files of ours, a warning elsewhere.
dropped: there is nothing to set here, and nothing is lost; a warning.
"""


@dataclass(frozen=True, slots=True)
class OtherName:
    """What becomes of one name.

    ours: the setting that is meant; empty where there is none.
    advice: half a sentence on how the two differ, or what to do instead; it follows "set OURS: ", or stands alone.
    convert: the value as ours takes it, for a name that is taken.
    """

    outcome: Outcome
    ours: str = ""
    advice: str = ""
    convert: Callable[[str], str] | None = None

    @property
    def remedy(self) -> str:
        """What to do about a name that is not taken."""
        if not self.ours:
            return self.advice
        return f"set {self.ours}: {self.advice}" if self.advice else f"set {self.ours}"


def taken(ours: str, names: Iterable[str], convert: Callable[[str], str] | None = None) -> dict[str, OtherName]:
    """A table in which each of `names` means exactly `ours`."""
    return {name: OtherName("taken", ours, convert=convert) for name in names}


def refused(ours: str, advice: str, names: Iterable[str]) -> dict[str, OtherName]:
    """A table in which each of `names` means nearly `ours`, and `advice` says what the difference is."""
    return {name: OtherName("refused", ours, advice) for name in names}


def doubted(ours: str, advice: str, names: Iterable[str]) -> dict[str, OtherName]:
    """A table in which each of `names` may mean `ours`, or something that is another program's."""
    return {name: OtherName("doubted", ours, advice) for name in names}


def dropped(advice: Mapping[str, str]) -> dict[str, OtherName]:
    """A table of names that have no effect here, each with its advice."""
    return {name: OtherName("dropped", advice=text) for name, text in advice.items()}


@dataclass(frozen=True, slots=True)
class UsualSetting:
    """Something that can be set in most servers of models, under many names. An engine says how it calls it.

    what: what it is about, for people.
    names: the names that mean exactly this.
    near: names that mean nearly this -> what the difference is.
    """

    what: str
    names: tuple[str, ...]
    near: tuple[tuple[str, str], ...] = ()

    def table(self, ours: str | None) -> dict[str, OtherName]:
        """What becomes of the names with an engine that calls it `ours`, or has nothing like it."""
        if ours is None:
            advice = f"this engine has no setting for {self.what}"
            return dropped(dict.fromkeys([*self.names, *(name for name, _ in self.near)], advice))
        near = {name: OtherName("refused", ours, advice) for name, advice in self.near}
        return {**taken(ours, self.names), **near}
