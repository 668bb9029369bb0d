"""The start-up timeline: phases in order, each once, all of them in one line of the log."""

from __future__ import annotations

import logging

import pytest

from engineroom.timeline import Timeline, process_age


def test_phases_are_kept_in_order_and_count_once(caplog: pytest.LogCaptureFixture) -> None:
    timeline = Timeline()
    with caplog.at_level(logging.INFO):
        timeline.mark("interpreter", 0.1)
        timeline.mark("engine ready", 2.5)
        timeline.mark("engine ready", 9)
        assert not caplog.messages
        timeline.log()
        timeline.mark("first job", 9)
    assert caplog.messages == [
        "start-up: interpreter 0.10 s, engine ready 2.50 s",
        "first job, 9.00 s after this process was started",
    ]


def test_seconds_are_those_since_the_process_began() -> None:
    before = process_age()
    timeline = Timeline()
    timeline.mark("now")
    [(_, seconds)] = timeline.marks
    assert 0 < before <= seconds <= process_age()
