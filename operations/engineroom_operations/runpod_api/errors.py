"""What went wrong between us and the management API, in words that say what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engineroom.errors import EngineroomError

_REMEDIES: Mapping[int, str] = {
    401: "RUNPOD_API_KEY is wrong or has expired; RunPod's console makes a new one under Settings, API keys",
    402: "the account's balance is too low; add money in RunPod's console under Billing",
    403: "the key may not do that; give it write access to this in RunPod's console under Settings, API keys",
    409: "wait until what goes on there has ended, and try again",
    422: "correct the field that is named",
    429: "RunPod limits requests a minute, an hour and a day; wait, and try again",
}


class RunPodApiError(EngineroomError):
    """The management API refused a request, or could not be asked. The text says what, why, and what to do.

    Attributes:
        status: its HTTP status; 0 where there was no answer.
        detail: RunPod's own words; secrets that we sent are masked.
        errors: the fields that are wrong, each with why.
    """

    def __init__(self, doing: str, status: int, detail: str, errors: Sequence[str] = (), remedy: str = "") -> None:
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        remedy = remedy or _REMEDIES.get(status, "")
        if not remedy and status >= 500:
            remedy = "that is RunPod's own failure; try again"
        lines = "".join(f"\n  {field_and_cause(error)}" for error in self.errors)
        code = f" (HTTP {status})" if status else ""
        super().__init__(f"{doing}: {detail.rstrip('.')}{code}{lines}" + (f"\n  {remedy}" if remedy else ""))


def field_and_cause(error: str) -> str:
    """One of `errors`, as `workers.max: must be at least 0` where RunPod writes a JSON path before the cause."""
    place, colon, cause = error.partition(": ")
    if not colon or not place.startswith("$"):
        return error
    field = place.removeprefix("$").removeprefix(".").strip("/").replace("/", ".")
    return f"{field}: {cause}" if field else cause


class _Problem(msgspec.Struct):
    """An error as RFC 9457 writes one, with RunPod's list of fields."""

    title: str = ""
    detail: str = ""
    errors: list[Any] = []


def from_response(doing: str, status: int, body: bytes, secrets: Sequence[str] = ()) -> RunPodApiError:
    """The error for an answer that is none.

    Args:
        doing: what was under way: `creating the pod my-llm`.
        secrets: texts of the request that must not be seen, should RunPod quote them.
    """
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _Problem()
    detail = problem.detail or problem.title or "no reason given"
    errors = [error if isinstance(error, str) else msgspec.json.encode(error).decode() for error in problem.errors]
    return RunPodApiError(doing, status, masked(detail, secrets), [masked(error, secrets) for error in errors])


def masked(text: str, secrets: Sequence[str]) -> str:
    """The text without these secrets, longest first, since one may be part of another."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "•••")
    return text
