"""Percentiles in flat memory, against exact ones."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom_operations.load.histogram import ERROR, DurationHistogram

DURATIONS = st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=300)


def exact(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[max(1, -(-len(ordered) * percent // 100)).__int__() - 1]


@given(DURATIONS, st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_percentiles_are_within_the_stated_error(values: list[float], percent: int) -> None:
    histogram = DurationHistogram()
    for value in values:
        histogram.record(value)
    assert histogram.percentile(percent) == pytest.approx(exact(values, percent), rel=1.01 * ERROR)


@given(DURATIONS, DURATIONS)
def test_the_rest_is_exact_and_merging_loses_nothing(first: list[float], second: list[float]) -> None:
    one = DurationHistogram()
    for value in first:
        one.record(value)
    other = DurationHistogram()
    for value in second:
        other.record(value)
    whole = DurationHistogram.merged([one, other])
    values = first + second
    assert (whole.count, whole.least, whole.largest) == (len(values), min(values), max(values))
    assert whole.mean == pytest.approx(statistics.fmean(values))
    assert whole.deviation == pytest.approx(statistics.pstdev(values), rel=1e-4, abs=1e-3 * max(values))


def test_a_million_durations_take_no_more_memory_than_their_range_does() -> None:
    chance = random.Random(0)
    histogram = DurationHistogram()
    for _ in range(20_000):
        histogram.record(chance.lognormvariate(-4, 1))
    bins = len(histogram._bins)
    for _ in range(100_000):
        histogram.record(chance.lognormvariate(-4, 1))
    assert len(histogram._bins) < 1.5 * bins


def test_nothing_recorded_is_zero_and_zero_can_be_recorded() -> None:
    histogram = DurationHistogram()
    assert (histogram.percentile(99), histogram.least, histogram.mean, histogram.coarse()) == (0, 0, 0, [])
    histogram.record(0)
    assert histogram.percentile(50) == 0
    assert histogram.share_within(0.1) == 1


def test_bars_hold_everything() -> None:
    histogram = DurationHistogram()
    for value in (0.001, 0.01, 0.01, 5):
        histogram.record(value)
    bars = histogram.coarse(10)
    assert len(bars) == 10
    assert sum(count for _, _, count in bars) == 4
    assert histogram.share_within(0.011) == 0.75
