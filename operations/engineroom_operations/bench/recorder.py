"""From what came of each request to a stage's figures, in memory that does not grow with the number of requests."""

from __future__ import annotations

import resource
import sys
import time

from ..load.histogram import DurationHistogram
from ..load.loop import LoadLoop
from ..load.measurement import Measurement
from . import remedies
from .figures import Bar, Distribution, Failures, Objectives, ServerFigures, Slice, Stage

_MAX_SLICES = 120


class _SliceRecord:
    """What one slice of a stage's time has seen so far."""

    def __init__(self) -> None:
        self.requests = 0
        self.failed = 0
        self.first_arrivals = 0
        self.ttft = DurationHistogram()
        self.inter_token = DurationHistogram()

    def merge(self, other: _SliceRecord) -> None:
        self.requests += other.requests
        self.failed += other.failed
        self.first_arrivals += other.first_arrivals
        self.ttft.merge(other.ttft)
        self.inter_token.merge(other.inter_token)


class StageRecorder:
    """Records one stage. Its start is when this is made.

    Args:
        objectives: that a request has to keep to count as goodput.
        streamed: whether answers stream; else nobody sees when their first token was there.
    """

    def __init__(self, objectives: Objectives, streamed: bool = True) -> None:
        self._streamed = streamed
        self._objectives = objectives
        self._began = time.perf_counter()
        self._cpu_before = time.process_time()
        self._last_end = self._began
        self._slice_s = 1.0
        self._slices = [_SliceRecord()]
        self._current = self._slices[0]
        self._end_to_end = DurationHistogram()
        self._token = DurationHistogram()
        self._send_lag = DurationHistogram()
        self._extra: dict[str, DurationHistogram] = {}
        self._failures: dict[str, tuple[int, str, str]] = {}
        self.requests = 0
        self.succeeded = 0
        self.good = 0
        self.tokens_in = 0
        self.tokens_out = 0
        self._tokens_cached = 0
        self._by_usage = 0
        self._by_events = 0

    def started(self, due: float) -> Measurement:
        """The measurement of a request that is due."""
        self.tick()
        return Measurement(due, self._gap)

    def tick(self) -> None:
        """Time has passed: gaps belong to the slice that it is now."""
        self._current = self._slice_at(time.perf_counter())

    def _gap(self, seconds: float) -> None:
        self._current.inter_token.record(seconds)

    def ended(self, measurement: Measurement) -> None:
        """A request has ended."""
        self.requests += 1
        self._last_end = max(self._last_end, measurement.ended)
        self._send_lag.record(max(0.0, measurement.sent - measurement.due))
        current = self._slice_at(measurement.ended)
        current.requests += 1
        failure = measurement.failure
        if failure is not None:
            current.failed += 1
            kind = f"{failure.kind} ({failure.status})" if failure.status >= 400 else failure.kind
            count, example, remedy = self._failures.get(kind, (0, str(failure), remedies.of(failure)))
            self._failures[kind] = (count + 1, example, remedy)
            return
        self.succeeded += 1
        self._note_tokens(measurement)
        first = self._slice_at(measurement.first or measurement.ended)
        first.first_arrivals += 1
        if self._streamed:
            first.ttft.record(measurement.ttft_s)
        self._end_to_end.record(measurement.end_to_end_s)
        token_s = measurement.token_s
        if token_s is not None:
            self._token.record(token_s)
        for name, seconds in measurement.extra.items():
            self._extra.setdefault(name, DurationHistogram()).record(seconds)
        if self._keeps(measurement, token_s):
            self.good += 1

    def stage(
        self,
        loop: LoadLoop,
        label: str,
        streams: int,
        rate: float,
        arrivals: str,
        server: ServerFigures,
    ) -> Stage:
        """The figures, once the loop has ended."""
        seconds = max(self._last_end - self._began, 1e-9)
        cpu_s = time.process_time() - self._cpu_before
        ttft = DurationHistogram.merged(one.ttft for one in self._slices)
        inter_token = DurationHistogram.merged(one.inter_token for one in self._slices)
        tokens_an_arrival = self.tokens_out / max(1, self.succeeded + inter_token.count)
        return Stage(
            label=label,
            streams=streams,
            rate=rate,
            arrivals=arrivals,
            seconds=seconds,
            requests=self.requests,
            succeeded=self.succeeded,
            failed=self.requests - self.succeeded,
            given_up=loop.given_up,
            failures={kind: Failures(*parts) for kind, parts in sorted(self._failures.items())},
            requests_per_s=self.succeeded / seconds,
            goodput_per_s=self.good / seconds,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            tokens_cached=self._tokens_cached,
            tokens_by_usage=self._by_usage,
            tokens_by_events=self._by_events,
            tokens_in_per_s=self.tokens_in / seconds,
            tokens_out_per_s=self.tokens_out / seconds,
            ttft=distribution(ttft),
            inter_token=distribution(inter_token),
            token=distribution(self._token),
            end_to_end=distribution(self._end_to_end),
            send_lag=distribution(self._send_lag),
            extra={name: distribution(histogram) for name, histogram in self._extra.items()},
            slices=[self._slice(position, tokens_an_arrival) for position in range(len(self._slices))],
            ttft_bars=[Bar(1000 * low, 1000 * high, count) for low, high, count in ttft.coarse()],
            own_cpu_share=cpu_s / max(time.perf_counter() - self._began, 1e-9),
            own_cpu_us_a_token=1e6 * cpu_s / self.tokens_out if self.tokens_out else 0,
            own_memory_mb=memory_mb(),
            met=met(self._objectives, ttft, self._token, self.succeeded, self.requests),
            server=server,
        )

    def _note_tokens(self, measurement: Measurement) -> None:
        self.tokens_in += measurement.prompt_tokens or 0
        self.tokens_out += measurement.tokens
        self._tokens_cached += measurement.cached_tokens or 0
        if measurement.completion_tokens is None and measurement.prompt_tokens is None:
            self._by_events += 1
        else:
            self._by_usage += 1

    def _keeps(self, measurement: Measurement, token_s: float | None) -> bool:
        ttft_ms = self._objectives.ttft_ms
        tokens_per_s = self._objectives.tokens_per_s
        if ttft_ms is not None and measurement.ttft_s * 1000 > ttft_ms:
            return False
        return tokens_per_s is None or token_s is None or token_s * tokens_per_s <= 1

    def _slice_at(self, moment: float) -> _SliceRecord:
        """The record of the slice that a moment is in. A long stage gets longer slices, not more of them."""
        position = max(0, int((moment - self._began) / self._slice_s))
        while position >= _MAX_SLICES:
            merged = self._slices[::2]
            for one, other in zip(merged, self._slices[1::2], strict=False):
                one.merge(other)
            self._slices = merged
            self._current = merged[-1]
            self._slice_s *= 2
            position = int((moment - self._began) / self._slice_s)
        while len(self._slices) <= position:
            self._slices.append(_SliceRecord())
        return self._slices[position]

    def _slice(self, position: int, tokens_an_arrival: float) -> Slice:
        one = self._slices[position]
        # The last slice ends with the stage; of a very short one there would be no rate to speak of.
        left = self._last_end - self._began - position * self._slice_s
        seconds = min(self._slice_s, max(left, 0.2 * self._slice_s))
        return Slice(
            at_s=position * self._slice_s,
            seconds=seconds,
            requests=one.requests,
            failed=one.failed,
            tokens_per_s=tokens_an_arrival * (one.inter_token.count + one.first_arrivals) / seconds,
            ttft_p50_ms=1000 * one.ttft.percentile(50),
            ttft_p99_ms=1000 * one.ttft.percentile(99),
            inter_token_p50_ms=1000 * one.inter_token.percentile(50),
            inter_token_p99_ms=1000 * one.inter_token.percentile(99),
        )


def distribution(histogram: DurationHistogram) -> Distribution:
    """A histogram's figures in milliseconds."""
    return Distribution(
        count=histogram.count,
        min=1000 * histogram.least,
        mean=1000 * histogram.mean,
        median=1000 * histogram.percentile(50),
        p90=1000 * histogram.percentile(90),
        p95=1000 * histogram.percentile(95),
        p99=1000 * histogram.percentile(99),
        max=1000 * histogram.largest,
        stdev=1000 * histogram.deviation,
    )


def met(
    objectives: Objectives, ttft: DurationHistogram, token: DurationHistogram, succeeded: int, requests: int
) -> bool | None:
    """Whether 99 of 100 requests succeeded and kept the objectives; None where there are none."""
    if not objectives.given:
        return None
    if not requests or succeeded < 0.99 * requests:
        return False
    if objectives.ttft_ms is not None and 1000 * ttft.percentile(99) > objectives.ttft_ms:
        return False
    return objectives.tokens_per_s is None or token.percentile(99) * objectives.tokens_per_s <= 1


def memory_mb() -> float:
    """The most memory that this process had so far."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
