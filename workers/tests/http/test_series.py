"""Our histogram and our counter beside prometheus_client's own."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from engineroom_workers.http.metrics.series import UnlockedCounter, UnlockedHistogram

BOUNDS = (0.001, 0.5, 1, 2.5, 300)


def text(registry: CollectorRegistry) -> str:
    """What a scrape gets, without when each series began."""
    lines = generate_latest(registry).decode().splitlines()
    return "\n".join(line for line in lines if "_created" not in line)


def test_a_histogram_says_what_the_librarys_own_says() -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    library = Histogram("seconds", "Of it.", ["route", "model"], buckets=BOUNDS, registry=theirs)
    own = UnlockedHistogram("seconds", "Of it.", BOUNDS, ("route", "model"))
    ours.register(own)
    chance = random.Random(7)
    for _ in range(1000):
        labels = (chance.choice(("/a", "/b")), chance.choice(("m", "n")))
        value = chance.choice((*BOUNDS, 0.0, chance.random(), 400 * chance.random()))
        library.labels(*labels).observe(value)
        own.series(*labels).observe(value)
    assert text(ours) == text(theirs)


def test_a_histogram_without_labels_is_there_before_it_is_observed() -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    Histogram("seconds", "Of it.", buckets=BOUNDS, registry=theirs)
    ours.register(UnlockedHistogram("seconds", "Of it.", BOUNDS, ()))
    assert text(ours) == text(theirs)


def test_a_counter_says_what_the_librarys_own_says() -> None:
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
