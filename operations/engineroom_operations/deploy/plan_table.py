"""A plan as a person reads it: what is there, what changes, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engineroom.process import is_secret_name
from engineroom.settings import without_user_info

from .plan import Change, DeploymentPlan, FieldDifference, WantedResource
from .worker_variables import is_reference

_MARKS = {"create": ("+", "green"), "update": ("~", "yellow"), "replace": ("±", "red")}
_HIDDEN = "••••"
_INDENT = "    "
_NOTHING: tuple[Any, ...] = (None, "", [], {})
_UNITS = {"disk": "GB", "size": "GB", "timeout": "ms", "workers.idleTimeout": "s", "scaling.queueDelay": "s"}


def plan_table(plan: DeploymentPlan) -> RenderableType:
    """The whole plan: a line for each resource, and those of its fields that change below it."""
    parts: list[RenderableType] = []
    for standing in plan.standing:
        parts.append(Text.assemble(("= ", "dim"), _title(standing.wanted), (f" ({standing.id}) stays as it is", "dim")))
    main = plan.changes[-1].body if plan.changes else {}
    for change in plan.changes:
        parts += _change(change, {} if change.body is main else main)
    return Group(*parts)


def _change(change: Change, main: Mapping[str, Any]) -> list[RenderableType]:
    """A change.

    Args:
        main: the body of the pod or endpoint: what stands there, too, is not shown twice.
    """
    mark, colour = _MARKS[change.action]
    what = {"create": "is created", "update": "is changed", "replace": "is deleted and created anew"}[change.action]
    where = f" ({change.id})" if change.id else ""
    title = Text.assemble((f"{mark} ", colour), _title(change.wanted), (f"{where} {what}", colour))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    if change.action == "create":
        others = dict(_flat(main))
        for name, value in _flat(change.body):
            if name != "name" and value is not False and value not in _NOTHING and others.get(name) != value:
                grid.add_row(Text(_INDENT + name, "dim"), Text(shown(change.wanted, name, value)))
    else:
        for difference in change.differences:
            grid.add_row(Text(_INDENT + difference.field, "dim"), _before_and_after(change.wanted, difference))
    return [title, grid]


def _before_and_after(wanted: WantedResource, difference: FieldDifference) -> Text:
    before = shown(wanted, difference.field, difference.before)
    after = shown(wanted, difference.field, difference.after)
    if before == after == _HIDDEN:
        after = f"{_HIDDEN} (another)"
    return Text.assemble((before, "red"), " → ", (after, "green"))


def difference_text(wanted: WantedResource, difference: FieldDifference) -> str:
    """A field with what it was and what it becomes."""
    return f"{difference.field}: {_before_and_after(wanted, difference)}"


def _title(wanted: WantedResource) -> Text:
    return Text.assemble(f"{wanted.kind.word} ", (wanted.name, "bold"))


def shown(wanted: WantedResource, name: str, value: Any) -> str:
    """A value for people; never a secret, also not one that somebody else has put there."""
    if value in _NOTHING:
        return "nothing"
    if _is_hidden(wanted, name, value):
        return _HIDDEN
    if isinstance(value, str):
        return without_user_info(value)
    if isinstance(value, list):
        return ", ".join(shown(wanted, name, each) for each in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {shown(wanted, f'{name}.{key}', part)}" for key, part in value.items())
    unit = f" {_UNITS[name]}" if name in _UNITS else ""
    return f"{json.dumps(value)}{unit}"


def _is_hidden(wanted: WantedResource, name: str, value: Any) -> bool:
    if name in wanted.secrets:
        return True
    if not name.startswith("env.") or not isinstance(value, str):
        return False
    variable = name.removeprefix("env.")
    ours = wanted.body.get("env", {})
    # A variable that we do not set is somebody else's, and what it holds is unknown.
    return (variable not in ours or is_secret_name(variable)) and not is_reference(value)


def _flat(body: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    fields: list[tuple[str, Any]] = []
    for name, value in body.items():
        if isinstance(value, Mapping) and value:
            fields += _flat(value, f"{prefix}{name}.")
        else:
            fields.append((f"{prefix}{name}", value))
    return fields
