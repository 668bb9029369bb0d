"""Carrying out a plan: one change after the other. What a failure leaves behind is looked up by the next run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engineroom.errors import EngineroomError

from ..runpod_api.client import RunPodClient
from ..runpod_api.errors import RunPodApiError
from ..runpod_api.resources import PODS
from .plan import Change, DeploymentPlan, resolved

_ANOTHER = frozenset({400, 403})
"""Statuses after which another GPU may be had: no capacity, or a pool that this account may not use."""


class UnfinishedError(EngineroomError):
    """A plan was carried out in part. The text says what stands and how to go on."""


async def carry_out(api: RunPodClient, plan: DeploymentPlan, report: Callable[[str], None]) -> dict[str, str]:
    """Do everything that the plan has.

    Args:
        report: called with a line about each thing that is done.

    Returns:
        Placeholder -> id, of everything that is wanted.

    Raises:
        UnfinishedError: a request failed.
    """
    ids = plan.ids
    done: list[str] = []
    for change in plan.changes:
        try:
            ids[change.wanted.placeholder] = await _do(api, change, ids, report)
        except RunPodApiError as error:
            raise UnfinishedError(_what_stands(error, plan, done)) from error
        done.append(f"{change.wanted.kind.word} {change.wanted.name}")
    return ids


async def _do(api: RunPodClient, change: Change, ids: Mapping[str, str], report: Callable[[str], None]) -> str:
    wanted = change.wanted
    what = f"{wanted.kind.word} {wanted.name}"
    secrets = _secret_texts(change)
    if change.action == "update":
        await api.update(wanted.kind, change.id, resolved(change.body, ids), secrets)
        report(f"changed the {what}")
        return change.id
    if change.action == "replace":
        await api.delete(wanted.kind, change.id)
        report(f"deleted the old {what}")
    bodies = [resolved(body, ids) for body in (change.body, *wanted.candidates)]
    created = await _create_first_possible(api, change, bodies, secrets, report)
    report(f"created the {what} ({created})")
    return created


async def _create_first_possible(
    api: RunPodClient,
    change: Change,
    bodies: Sequence[dict[str, Any]],
    secrets: Sequence[str],
    report: Callable[[str], None],
) -> str:
    """The id of what could be created: RunPod looks for no other GPU itself where there is none for a pod."""
    kind = change.wanted.kind
    for body in bodies[:-1]:
        try:
            return str((await api.create(kind, body, secrets)).id)
        except RunPodApiError as error:
            if kind is not PODS or error.status not in _ANOTHER:
                raise
            report(f"no {body['gpu']['id']}: {error.detail}")
    return str((await api.create(kind, bodies[-1], secrets)).id)


def _secret_texts(change: Change) -> list[str]:
    texts: list[str] = []
    for field in change.wanted.secrets:
        value: Any = change.body
        for part in field.split(".", 1):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str):
            texts.append(value)
    return texts


def _what_stands(error: RunPodApiError, plan: DeploymentPlan, done: Sequence[str]) -> str:
    standing = [*(f"{each.wanted.kind.word} {each.wanted.name}" for each in plan.standing), *done]
    stands = f"Until then these were made or were right already: {', '.join(standing)}." if standing else ""
    lines = [str(error), *filter(None, [stands]), "Nothing is lost: the same command goes on from here."]
    return "\n".join(lines)
