"""The plan: from what is wanted and what is there to what has to be done. A pure function, and its result is data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from engineroom.errors import EngineroomError
from engineroom.runpod_account import plain_name

from ..runpod_api.resources import ResourceKind

Action = Literal["create", "update", "replace"]

INJECTED = ("PUBLIC_KEY", "JUPYTER_PASSWORD")
"""Variables that RunPod puts into an environment itself; they stay as they are. So do those that begin with RUNPOD_."""


class PlanError(EngineroomError):
    """What is wanted cannot be made of what is there. The text says what to do."""


def placeholder(kind: ResourceKind[Any], name: str) -> str:
    """What stands for the id of a resource that is still to be made."""
    return f"(the new {kind.word} {name})"


@dataclass(frozen=True)
class WantedResource:
    """A resource as it shall be.

    body: the request that creates it, in JSON. Ids of other wanted resources are placeholders.
    fixed: dotted fields that RunPod cannot change once it exists.
    only_created: dotted fields that count only when it is created.
    one_of: fields with a list, of which RunPod shows the one that it took -> the field in which it does.
    empty: dotted fields that must have nothing in them.
    candidates: other bodies to try, in this order, where RunPod has no capacity for the first.
    secrets: dotted fields whose values nobody may see.
    keeps_data: whether it may never be replaced.
    """

    kind: ResourceKind[Any]
    name: str
    body: Mapping[str, Any]
    fixed: frozenset[str] = frozenset()
    only_created: frozenset[str] = frozenset()
    one_of: Mapping[str, str] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()
    candidates: tuple[Mapping[str, Any], ...] = ()
    secrets: frozenset[str] = frozenset()
    keeps_data: bool = False

    @property
    def placeholder(self) -> str:
        return placeholder(self.kind, self.name)


class FieldDifference(NamedTuple):
    """A field that differs; None where it is not there."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """One thing to do. id: of what is there already, empty where nothing is."""

    action: Action
    wanted: WantedResource
    body: Mapping[str, Any]
    id: str = ""
    differences: tuple[FieldDifference, ...] = ()


class Standing(NamedTuple):
    """A resource that is as it shall be."""

    wanted: WantedResource
    id: str


@dataclass(frozen=True)
class DeploymentPlan:
    """changes: in the order in which they must be done. standing: what is right already."""

    changes: tuple[Change, ...] = ()
    standing: tuple[Standing, ...] = field(default=())

    @property
    def ids(self) -> dict[str, str]:
        """Placeholder -> id, of all that exists and stays."""
        known = {each.wanted.placeholder: each.id for each in self.standing}
        known.update({each.wanted.placeholder: each.id for each in self.changes if each.action == "update"})
        return known


def make_plan(wanted: Sequence[WantedResource], present: Mapping[str, Sequence[Mapping[str, Any]]]) -> DeploymentPlan:
    """What has to be done.

    Args:
        wanted: in the order in which they are created: what others refer to comes first.
        present: for the path of each kind, everything of that kind that the account has, in JSON.

    Raises:
        PlanError: a name is there twice, or what is there cannot become what is wanted.
    """
    changes: list[Change] = []
    standing: list[Standing] = []
    known: dict[str, str] = {}
    for each in wanted:
        existing = _existing(each, present.get(each.kind.path, ()))
        body = resolved(each.body, known)
        if existing is None:
            changes.append(Change("create", each, body))
            continue
        differences = tuple(_differences(each, body, existing))
        resource_id = str(existing["id"])
        fixed = [difference for difference in differences if difference.field in each.fixed]
        if fixed and each.keeps_data:
            raise PlanError(_cannot_change(each, fixed))
        if fixed:
            changes.append(Change("replace", each, body, resource_id, differences))
            continue
        known[each.placeholder] = resource_id
        if differences:
            changes.append(Change("update", each, _update_body(body, existing, differences), resource_id, differences))
        else:
            standing.append(Standing(each, resource_id))
    return DeploymentPlan(tuple(changes), tuple(standing))


def resolved(value: Any, ids: Mapping[str, str]) -> Any:
    """JSON with ids in the place of placeholders, as far as they are known."""
    if isinstance(value, Mapping):
        return {name: resolved(inner, ids) for name, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, ids) for inner in value]
    return ids.get(value, value) if isinstance(value, str) else value


def injected(name: str) -> bool:
    """Whether RunPod has put this variable into an environment, and not we."""
    return name in INJECTED or name.startswith("RUNPOD_")


def _existing(wanted: WantedResource, present: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    matching = [each for each in present if plain_name(str(each["name"])) == wanted.name]
    if len(matching) > 1:
        ids = " and ".join(str(each["id"]) for each in matching)
        raise PlanError(
            f"there are {len(matching)} {wanted.kind.word}s called {wanted.name} ({ids}), so it is unknown which is "
            f"meant: delete or rename all but one in RunPod's console, or choose another name"
        )
    return matching[0] if matching else None


def _differences(wanted: WantedResource, body: Mapping[str, Any], existing: Mapping[str, Any]) -> list[FieldDifference]:
    differences: list[FieldDifference] = []
    for name, value in body.items():
        if name != "name":
            differences += _difference(wanted, name, value, existing)
    if "cpu" in body and existing.get("gpu"):
        differences.append(FieldDifference("gpu", existing["gpu"], None))
    if "gpu" in body and existing.get("cpu"):
        differences.append(FieldDifference("cpu", existing["cpu"], None))
    left = ((name, _at(existing, name)) for name in sorted(wanted.empty))
    return differences + [FieldDifference(name, value, None) for name, value in left if value]


def _difference(wanted: WantedResource, name: str, value: Any, existing: Mapping[str, Any]) -> list[FieldDifference]:
    """Where one dotted field of the wanted body differs from what is there."""
    shown = _at(existing, name)
    if name in wanted.only_created:
        return []
    if name == "env":
        return _env_differences(value, shown or {})
    if isinstance(value, Mapping):
        inner = (_difference(wanted, f"{name}.{key}", part, existing) for key, part in value.items())
        return [difference for differences in inner for difference in differences]
    if name in wanted.one_of:
        taken = _at(existing, wanted.one_of[name])
        return [] if taken is None or taken in value else [FieldDifference(name, taken, value)]
    choices = [value, *(_at(candidate, name) for candidate in wanted.candidates)]
    return [] if any(_same(choice, shown) for choice in choices) else [FieldDifference(name, shown, value)]


def _at(body: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted field."""
    value: Any = body
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _same(value: Any, existing: Any) -> bool:
    """Whether RunPod shows what was asked for: the order of a list means nothing, and an empty value is none."""
    if isinstance(value, list) and isinstance(existing, list):
        return sorted(map(repr, value)) == sorted(repr(_like(each, value)) for each in existing)
    if value in ("", None, []) and existing in ("", None, []):
        return True
    return bool(value == existing)


def _like(existing: Any, wanted: list[Any]) -> Any:
    """What RunPod shows of an entry, without what it adds to the entries that were asked for."""
    if isinstance(existing, Mapping) and wanted and isinstance(wanted[0], Mapping):
        return {name: existing.get(name) for name in wanted[0]}
    return existing


def _env_differences(wanted: Mapping[str, str], existing: Mapping[str, str]) -> list[FieldDifference]:
    names = [*wanted, *(name for name in existing if name not in wanted and not injected(name))]
    return [
        FieldDifference(f"env.{name}", existing.get(name), wanted.get(name))
        for name in names
        if wanted.get(name) != existing.get(name)
    ]


def _update_body(
    body: Mapping[str, Any], existing: Mapping[str, Any], differences: Sequence[FieldDifference]
) -> dict[str, Any]:
    """The fields that differ, each whole: an environment replaces the one that is there."""
    names = dict.fromkeys(difference.field.partition(".")[0] for difference in differences)
    update = {name: body[name] for name in names}
    if "env" in update:
        kept = {name: value for name, value in (existing.get("env") or {}).items() if injected(name)}
        update["env"] = {**kept, **update["env"]}
    return update


def _cannot_change(wanted: WantedResource, fixed: Sequence[FieldDifference]) -> str:
    what = "; ".join(f"{each.field} is {each.before} and cannot become {each.after}" for each in fixed)
    return (
        f"the {wanted.kind.word} {wanted.name} exists, and {what}. It holds data, so it is not replaced: "
        f"give the {wanted.kind.word} another name, or write what it has"
    )
