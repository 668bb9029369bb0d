"""Our counter beside prometheus_client's own."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Counter, generate_latest

from engineroom_workers.http.metrics.counters import UnlockedCounter


def text(registry: CollectorRegistry) -> str:
    """What a scrape gets, without when each series began."""
    lines = generate_latest(registry).decode().splitlines()
    return "\n".join(line for line in lines if "_created" not in line)


def test_it_says_what_the_librarys_own_says() -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    library = Counter("requests", "Of it.", ["route", "status"], registry=theirs)
    own = UnlockedCounter("requests", "Of it.", ("route", "status"))
    ours.register(own)
    assert text(ours) == text(theirs)
    chance = random.Random(7)
    for _ in range(100):
        labels = (chance.choice(("/a", '/"b"')), chance.choice(("200", "404")))
        more = chance.randrange(3)
        library.labels(*labels).inc(more)
        own.series(*labels).value += more
    assert text(ours) == text(theirs)
    by_status = own.sums("status")
    assert by_status.keys() == {"200", "404"}
    assert own.total() == sum(by_status.values()) == sum(own.sums("route").values())
