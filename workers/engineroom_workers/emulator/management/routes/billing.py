"""`/v2/billing`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..account import Account
from ..billing import BUCKET_SIZES, MOST_BUCKETS, BillingPeriod, buckets_between, last_buckets, records, totals
from ..ledger import Family
from ..problems import RequestProblem
from .requests import answer, query_choice, query_int, wrong_query


class Bill(NamedTuple):
    """What one of the routes bills.

    family: what the ledger calls it; None for what the emulator does not have, which costs nothing.
    key: what a record calls the resource's id, and the parameter that picks one; None where there is none.
    unique: the count of resources in the metadata.
    components: the amounts of a record beside the total.
    """

    family: Family | None
    key: str | None
    unique: str | None
    components: tuple[str, ...]


BILLS: Final = {
    "pods": Bill("pod", "podId", "uniquePodCount", ("gpuAmount", "cpuAmount", "diskAmount")),
    "serverless": Bill(
        "serverless", "serverlessId", "uniqueServerlessCount", ("gpuAmount", "cpuAmount", "diskAmount", "feeAmount")
    ),
    "endpoints": Bill(None, None, None, ()),
    "network-volumes": Bill(
        None, "networkVolumeId", "uniqueNetworkVolumeCount", ("standardAmount", "highPerformanceAmount")
    ),
    "clusters": Bill(None, "clusterId", "uniqueClusterCount", ("gpuAmount", "diskAmount", "networkingAmount")),
}
AGGREGATED: Final[dict[str, tuple[Family, str]]] = {
    "podGpuAmount": ("pod", "gpuAmount"),
    "podCpuAmount": ("pod", "cpuAmount"),
    "serverlessGpuAmount": ("serverless", "gpuAmount"),
    "serverlessCpuAmount": ("serverless", "cpuAmount"),
}
FREE: Final = (
    "podDiskAmount",
    "serverlessDiskAmount",
    "serverlessFeeAmount",
    "storageStandardAmount",
    "storageHighPerformanceAmount",
    "endpointAmount",
    "clusterGpuAmount",
    "clusterDiskAmount",
    "clusterNetworkingAmount",
)
"""Amounts that are always 0 here: disks, volumes and fees have no recorded price."""


class BillingRoutes:
    """What the account has used, by time."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        def route(name: str, bill: Bill) -> Route:
            async def serve(request: Request) -> Response:
                return self._bill(bill, request)

            return Route(f"/v2/billing/{name}", serve, methods=["GET"])

        return [
            Route("/v2/billing", self.all, methods=["GET"]),
            *(route(name, bill) for name, bill in BILLS.items()),
        ]

    async def all(self, request: Request) -> Response:
        """All families together, a record a bucket."""
        window = _window(request)
        rows: dict[str, dict[str, Any]] = {}
        for name, (family, component) in AGGREGATED.items():
            for record in records(self._account.ledger.of(family), window, _now(), "resource"):
                row = rows.setdefault(
                    record["startTime"],
                    {
                        "startTime": record["startTime"],
                        "endTime": record["endTime"],
                        **dict.fromkeys((*AGGREGATED, *FREE), 0.0),
                    },
                )
                row[name] += record.get(component, 0.0)
        listed = [rows[start] for start in sorted(rows)]
        return _answer(listed, window, (*AGGREGATED, *FREE), {}, {})

    def _bill(self, bill: Bill, request: Request) -> Response:
        window = _window(request)
        wanted = request.query_params.get(bill.key) if bill.key else None
        rows: list[dict[str, Any]] = []
        if bill.family is not None and bill.key is not None:
            usages = self._account.ledger.of(bill.family, wanted)
            for record in records(usages, window, _now(), bill.key):
                rows.append({**dict.fromkeys(bill.components, 0.0), **record})
        unique = {} if bill.unique is None else {bill.unique: len({row[bill.key] for row in rows if bill.key})}
        return _answer(rows, window, bill.components, unique, {} if bill.key is None else {bill.key: wanted})


def _answer(
    rows: list[dict[str, Any]],
    window: BillingPeriod,
    components: tuple[str, ...],
    unique: dict[str, int],
    filtered: dict[str, str | None],
) -> Response:
    for row in rows:
        row["totalAmount"] = sum(row[name] for name in components)
    metadata = {
        "query": {**window.as_json(), **filtered},
        "recordCount": len(rows),
        **unique,
        "totals": totals(rows, ("totalAmount", *components)),
    }
    return answer({"records": rows, "metadata": metadata})


def _window(request: Request) -> BillingPeriod:
    """The buckets that a request asks for; by default those of the last 30 days."""
    size = query_choice(request, "bucketSize", BUCKET_SIZES, "day")
    assert size is not None
    count = query_int(request, "lastN", 1, MOST_BUCKETS)
    start = _time(request, "startTime")
    end = _time(request, "endTime")
    if count is not None and (start or end):
        raise RequestProblem(400, "lastN excludes startTime and endTime")
    try:
        if count is not None:
            return last_buckets(size, count, _now())
        return buckets_between(size, start or _now() - timedelta(days=30), end or _now())
    except (ValueError, OverflowError) as error:
        raise RequestProblem(400, str(error)) from None


def _time(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise wrong_query(f"{name}: {text!r} is no time such as 2026-11-26T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def _now() -> datetime:
    return datetime.now(timezone.utc)
