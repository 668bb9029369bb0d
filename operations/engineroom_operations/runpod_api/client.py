"""A client of RunPod's management API."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import msgspec
from typing_extensions import Self

from engineroom.runpod_account import RunPodAccount, plain_name

from .errors import RunPodApiError, from_response
from .logs import LogEvent, log_events
from .resources import (
    ENDPOINTS,
    PODS,
    CpuOffer,
    DataCenterOffer,
    EndpointWorkers,
    GpuOffer,
    RentedPod,
    Resource,
    ResourceKind,
    StoredTemplate,
)
from .transport import FIRST_PAUSE_S, Call, LostAnswerError, Transport

_CREATE_ATTEMPTS = 4

R = TypeVar("R", bound=Resource)
T = TypeVar("T")


class RunPodClient:
    """The management API of one account. Use it as `async with RunPodClient(account) as api`.

    Every method raises RunPodApiError where RunPod refuses, or cannot be asked after a few attempts.

    Args:
        pause_s: seconds before the first retry.
    """

    def __init__(self, account: RunPodAccount, pause_s: float = FIRST_PAUSE_S) -> None:
        self.account = account
        self._pause_s = pause_s
        self._open: Transport | None = None

    async def __aenter__(self) -> Self:
        self._open = Transport(self.account, self._pause_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        await self._transport.close()

    @property
    def _transport(self) -> Transport:
        assert self._open is not None, "use it as `async with RunPodClient(…)`"
        return self._open

    async def all_of(self, kind: ResourceKind[R]) -> list[R]:
        """All of a kind that the account has."""
        doing = f"listing every {kind.word}"
        answer = await self._get(kind.path, doing, dict[str, Any])
        return [_converted(each, kind.form, doing) for each in answer.get(kind.listed) or []]

    async def named(self, kind: ResourceKind[R], name: str) -> list[R]:
        """Those of a kind with this name; a pod that is terminated for good does not count."""
        return [each for each in await self.all_of(kind) if plain_name(each.name) == name and not _gone(each)]

    async def get(self, kind: ResourceKind[R], resource_id: str) -> R:
        """One by its id."""
        return await self._get(f"{kind.path}/{resource_id}", f"reading the {kind.word} {resource_id}", kind.form)

    async def create(self, kind: ResourceKind[R], body: dict[str, Any], secrets: Sequence[str] = ()) -> R:
        """Create one. Where it is unknown whether a request had its effect, the account is looked through for the name
        before there is a second: nothing is paid for twice.

        Args:
            body: with `name`.
            secrets: texts in it that no error may show.
        """
        name = body["name"]
        doing = f"creating the {kind.word} {name}"
        before = {each.id for each in await self.named(kind, name)}
        call = Call("POST", kind.path, doing, body, secrets=secrets, repeatable=False)
        lost: LostAnswerError | None = None
        for attempt in range(_CREATE_ATTEMPTS):
            try:
                return _decoded(await self._transport.send(call), kind.form, doing)
            except LostAnswerError as error:
                lost = error
            # What has just been made may not be listed at once.
            await asyncio.sleep(self._pause_s * 2**attempt)
            new = [each for each in await self.named(kind, name) if each.id not in before]
            if new:
                return new[0]
        assert lost is not None
        raise lost.error

    async def update(
        self, kind: ResourceKind[R], resource_id: str, body: dict[str, Any], secrets: Sequence[str] = ()
    ) -> R:
        """Change what the body has of one."""
        doing = f"changing the {kind.word} {resource_id}"
        call = Call("PATCH", f"{kind.path}/{resource_id}", doing, body, secrets=secrets)
        return _decoded(await self._transport.send(call), kind.form, doing)

    async def delete(self, kind: ResourceKind[R], resource_id: str) -> None:
        """Delete one for good; one that is gone already is no error."""
        doing = f"deleting the {kind.word} {resource_id}"
        try:
            await self._transport.send(Call("DELETE", f"{kind.path}/{resource_id}", doing))
        except RunPodApiError as error:
            if error.status != 404:
                raise

    async def pod_action(self, pod_id: str, action: str) -> RentedPod | None:
        """Start, stop, restart or terminate a pod; the pod as it is then, None for one that is terminated."""
        doing = f"asking the pod {pod_id} to {action}"
        answer = await self._transport.send(Call("POST", f"{PODS.path}/{pod_id}/action", doing, {"action": action}))
        return _decoded(answer, RentedPod, doing) if answer else None

    async def workers(self, endpoint_id: str) -> EndpointWorkers:
        """The workers that an endpoint has now."""
        path = f"{ENDPOINTS.path}/{endpoint_id}/workers"
        return await self._get(path, f"listing the workers of {endpoint_id}", EndpointWorkers)

    async def gpus(self, product: str) -> list[GpuOffer]:
        """The types of GPU with prices and availability.

        Args:
            product: POD or SERVERLESS, for which of them availability is meant.
        """
        doing = "reading RunPod's catalog of GPUs"
        query = {"include": "AVAILABILITY", "product": product}
        answer = await self._get("catalog/gpus", doing, dict[str, Any], query)
        return [_converted(each, GpuOffer, doing) for each in answer.get("gpus") or []]

    async def cpus(self) -> list[CpuOffer]:
        """The flavours of CPU with prices."""
        doing = "reading RunPod's catalog of CPUs"
        answer = await self._get("catalog/cpus", doing, dict[str, Any])
        return [_converted(each, CpuOffer, doing) for each in answer.get("cpus") or []]

    async def public_templates(self) -> list[StoredTemplate]:
        """The templates that RunPod and others publish."""
        doing = "reading RunPod's catalog of templates"
        answer = await self._get("catalog/templates", doing, dict[str, Any])
        return [_converted(each, StoredTemplate, doing) for each in answer.get("templates") or []]

    async def data_centers(self) -> list[DataCenterOffer]:
        """The data centres with what network volumes they have, and how many GPUs of each type are free."""
        doing = "reading RunPod's catalog of data centers"
        answer = await self._get("catalog/datacenters", doing, dict[str, Any], {"include": "GPU_AVAILABILITY"})
        return [_converted(each, DataCenterOffer, doing) for each in answer.get("dataCenters") or []]

    async def pod_logs(self, pod_id: str, tail: int = 100, after: str = "") -> AsyncIterator[LogEvent]:
        """A pod's log lines: the last ones, and then each as it comes, until RunPod ends the stream.

        Args:
            after: the time stamp behind which to go on; then `tail` does not count.
        """
        async for event in self._logs(f"{PODS.path}/{pod_id}/logs", tail, after):
            yield event

    async def worker_logs(
        self, endpoint_id: str, worker_id: str, tail: int = 100, after: str = ""
    ) -> AsyncIterator[LogEvent]:
        """A worker's log lines, as `pod_logs`."""
        async for event in self._logs(f"{ENDPOINTS.path}/{endpoint_id}/workers/{worker_id}/logs", tail, after):
            yield event

    async def _logs(self, path: str, tail: int, after: str) -> AsyncIterator[LogEvent]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        async with self._transport.stream(path, {"tail": str(tail)}, headers) as response:
            if response.status != 200:
                raise from_response("reading the log", response.status, await response.read())
            async for event in log_events(response):
                yield event

    async def _get(self, path: str, doing: str, form: type[T], query: dict[str, str] | None = None) -> T:
        return _decoded(await self._transport.send(Call("GET", path, doing, query=query or {})), form, doing)


def _gone(resource: Resource) -> bool:
    return isinstance(resource, RentedPod) and resource.status == "TERMINATED"


def _decoded(body: bytes, form: type[T], doing: str) -> T:
    try:
        return _converted(msgspec.json.decode(body), form, doing)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unexpected(doing, error) from None


def _converted(value: Any, form: type[T], doing: str) -> T:
    """A value as a resource. Where its API writes null for an empty list, our own default counts."""
    try:
        return msgspec.convert(_without_nulls(value), form)
    except msgspec.ValidationError as error:
        raise _unexpected(doing, error) from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _unexpected(doing: str, error: Exception) -> RunPodApiError:
    remedy = "check RUNPOD_API_URL where it is set; a newer engineroom may know a newer API"
    return RunPodApiError(doing, 0, f"the answer is not what RunPod's REST API v2 promises ({error})", remedy=remedy)
