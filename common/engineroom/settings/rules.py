"""Flags that need each other: combinations that an engine refuses only once it has loaded half of itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import Problem
from .environment import Environment
from .flags import number_of


class FlagValues:
    """Parsed flags as attributes, None where one is not set.

    Args:
        values: parsed flags by name.
        defaults: the engine's own, for those that rules ask of.
    """

    def __init__(self, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._values = values
        self._defaults = defaults

    def __getattr__(self, name: str) -> Any:
        return self._values.get(name, self._defaults.get(name))

    def number(self, name: str) -> float | None:
        """A size such as `4k`; None where it is not set, or left to the engine with -1."""
        size = number_of(str(self._values[name])) if name in self._values else -1
        return size if size >= 0 else None

    def key(self, name: str, key: str) -> Any:
        """What a JSON object has under a key, which may also be written with `-` for `_`."""
        held = self._values.get(name)
        fields = held if isinstance(held, dict) else {}
        return next((value for written, value in fields.items() if written.replace("-", "_") == key), None)


class FlagRule(NamedTuple):
    """A combination that the engine refuses.

    flag: the one that the message is about; the rule is tried where it is set.
    others: those that it goes by as well.
    broken: whether the values are refused.
    message: what is needed, or what may not be.
    """

    flag: str
    others: tuple[str, ...]
    broken: Callable[[FlagValues], object]
    message: str


def broken_rules(
    rules: Iterable[FlagRule], values: FlagValues, env: Environment, unknown: Collection[str] = ()
) -> Iterator[Problem]:
    """A problem for each rule that the values break.

    Args:
        unknown: flags that are set where nobody here can read them; no rule that goes by one of them is tried.
    """
    for rule in rules:
        is_set = getattr(values, rule.flag) is not None
        if is_set and not {rule.flag, *rule.others} & {*unknown} and rule.broken(values):
            variable = rule.flag.upper()
            yield Problem(variable, rule.message, env.source(variable) if variable in env else "")
