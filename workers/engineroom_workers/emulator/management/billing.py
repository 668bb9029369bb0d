"""Bills: what was used, cut into hours, days, weeks, months or years. Pure functions of the usage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from .ledger import Usage

BucketSize: TypeAlias = Literal["hour", "day", "week", "month", "year"]
BUCKET_SIZES: Final[tuple[BucketSize, ...]] = get_args(BucketSize)
MOST_BUCKETS: Final = 10_000


class BillingPeriod(NamedTuple):
    """The buckets of a bill, oldest first; each begins where the one before it ends."""

    size: BucketSize
    begins: tuple[datetime, ...]
    end: datetime

    @property
    def buckets(self) -> Sequence[tuple[datetime, datetime]]:
        return list(zip(self.begins, (*self.begins[1:], self.end), strict=True))

    def as_json(self) -> dict[str, Any]:
        """The window as a bill repeats it."""
        return {"startTime": rfc3339(self.begins[0]), "endTime": rfc3339(self.end), "bucketSize": self.size}


def last_buckets(size: BucketSize, count: int, now: datetime) -> BillingPeriod:
    """The last buckets up to the present one."""
    end = bucket_after(size, bucket_of(size, now))
    begins = [bucket_of(size, now)]
    while len(begins) < count:
        begins.append(bucket_of(size, begins[-1] - timedelta(seconds=1)))
    return BillingPeriod(size, tuple(reversed(begins)), end)


def buckets_between(size: BucketSize, start: datetime, end: datetime) -> BillingPeriod:
    """The buckets from one time to another, both snapped outwards.

    Raises:
        ValueError: they are none, or too many.
    """
    begins = [bucket_of(size, start)]
    if end <= begins[0]:
        raise ValueError("endTime is not after startTime")
    while (after := bucket_after(size, begins[-1])) < end:
        begins.append(after)
        if len(begins) > MOST_BUCKETS:
            raise ValueError(f"there would be more than {MOST_BUCKETS} buckets")
    return BillingPeriod(size, tuple(begins), after)


def bucket_of(size: BucketSize, at: datetime) -> datetime:
    """When the bucket began that a time lies in; weeks begin on Mondays (a guess), all of them in UTC."""
    at = at.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
    if size == "hour":
        return at
    day = at.replace(hour=0)
    if size == "day":
        return day
    if size == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if size == "month" else day.replace(day=1, month=1)


def bucket_after(size: BucketSize, begin: datetime) -> datetime:
    """When the bucket ends that begins then."""
    if size == "month":
        return bucket_of("month", begin + timedelta(days=31))
    if size == "year":
        return begin.replace(year=begin.year + 1)
    return begin + {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}[size]


def records(usages: Iterable[Usage], window: BillingPeriod, now: datetime, key: str) -> list[dict[str, Any]]:
    """One record for each resource in each bucket in which it was used.

    Args:
        key: what a record calls the resource's id.
    """
    usages = list(usages)
    resources = dict.fromkeys(usage.resource for usage in usages)
    result = []
    for begin, end in window.buckets:
        for resource in resources:
            amounts = _amounts([usage for usage in usages if usage.resource == resource], begin, end, now)
            if amounts:
                result.append({"startTime": rfc3339(begin), "endTime": rfc3339(end), key: resource, **amounts})
    return result


def totals(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
    """The sums of these amounts over all records."""
    listed = list(rows)
    return {name: sum(row.get(name, 0.0) for row in listed) for name in names}


def rfc3339(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _amounts(usages: Sequence[Usage], begin: datetime, end: datetime, now: datetime) -> dict[str, float]:
    """USD by component; empty if nothing was used."""
    amounts: dict[str, float] = {}
    for usage in usages:
        if usage.begin < end.timestamp() and (usage.end or now.timestamp()) > begin.timestamp():
            amount = usage.amount(begin.timestamp(), end.timestamp(), now.timestamp())
            name = f"{usage.component}Amount"
            amounts[name] = amounts.get(name, 0.0) + amount
    return amounts
