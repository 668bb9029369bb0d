"""What one request's stream is measured by, many pieces at a time."""

from __future__ import annotations

from collections.abc import Iterable

from .counters import CounterSeries
from .histograms import HistogramSeries
from .recent import RecentSamples


class DurationSeries:
    """Durations with one set of labels: all of them, and those of the last five minutes."""

    __slots__ = ("_histogram", "_recent")

    def __init__(self, histogram: HistogramSeries, recent: RecentSamples) -> None:
        self._histogram = histogram
        self._recent = recent

    def add(self, at: float, seconds: float) -> None:
        """Note one that ended `at` a time by `time.perf_counter`."""
        self._histogram.observe(seconds)
        self._recent.add(at, seconds)

    def add_all(self, durations: list[tuple[float, float]]) -> None:
        """Note several: of each when it ended, and its seconds."""
        self._histogram.observe_all([seconds for _, seconds in durations])
        self._recent.add_all(durations)


class StreamTimer:
    """Times one stream.

    Args:
        started: when its request arrived, by `time.perf_counter`.
        first_token, inter_token: what its times are noted in.
    """

    __slots__ = ("_first_token", "_inter_token", "_previous", "_started")

    def __init__(self, started: float, first_token: DurationSeries, inter_token: DurationSeries) -> None:
        self._started = started
        self._first_token = first_token
        self._inter_token = inter_token
        self._previous: float | None = None

    def add(self, pieces: Iterable[tuple[float, int]]) -> None:
        """Note pieces of the body, in their order: of each when it came, by `time.perf_counter`, and how many events
        it has. One without any is none."""
        previous = self._previous
        gaps = []
        for at, events in pieces:
            if not events:
                continue
            if previous is None:
                self._first_token.add(at, at - self._started)
            else:
                gaps.append((at, (at - previous) / events))
            previous = at
        self._previous = previous
        if gaps:
            self._inter_token.add_all(gaps)


class TokenCounter:
    """Counts one request's tokens, while its response streams and at its end.

    A counter cannot go back: where the engine's own figure is smaller in the end than what was counted on the way,
    the difference stays.

    Args:
        prompt, completion: what they are counted in.
    """

    __slots__ = ("_completion", "_counted_completion", "_counted_prompt", "_prompt")

    def __init__(self, prompt: CounterSeries, completion: CounterSeries) -> None:
        self._prompt = prompt
        self._completion = completion
        self._counted_prompt = 0
        self._counted_completion = 0

    def update(self, prompt: int, completion: int) -> None:
        """Count what has come since the last call.

        Args:
            prompt, completion: the request's tokens so far.
        """
        if prompt > self._counted_prompt:
            self._prompt.value += prompt - self._counted_prompt
            self._counted_prompt = prompt
        if completion > self._counted_completion:
            self._completion.value += completion - self._counted_completion
            self._counted_completion = completion
