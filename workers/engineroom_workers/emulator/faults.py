"""Faults that are injected into the platform: on the worker's side and into the management API; changed at run time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

_LONGEST_RTT_MS = 60_000


@dataclass(slots=True)
class Faults:
    """Rates between 0 (never) and 1 (always).

    They strike evenly and not at random: at 0.25 every fourth request fails.

    rtt_ms: milliseconds by which every POST of a worker is delayed before it takes effect.
    fail_stream: job-stream answers 500 and loses the chunk.
    fail_done: job-done answers 500 and loses the result.
    lose_answers: job-stream and job-done take what they get, and answer 502, as where a connection breaks afterwards.
    fail_take: job-take answers 500.
    take_429: job-take answers 429.
    take_400: job-take answers 400, as the platform does with FlashBoot.
    redeliver: a job that was handed out goes back into the queue at once, so that a second worker gets it, too.
    api_429: the management API answers 429.
    api_500: the management API answers 500, and does nothing.
    api_lose_answers: the management API does what it is asked, and answers 502 as if its answer were lost.
    """

    rtt_ms: float = 0.0
    fail_stream: float = 0.0
    fail_done: float = 0.0
    lose_answers: float = 0.0
    fail_take: float = 0.0
    take_429: float = 0.0
    take_400: float = 0.0
    redeliver: float = 0.0
    api_429: float = 0.0
    api_500: float = 0.0
    api_lose_answers: float = 0.0
    _due: dict[str, float] = field(default_factory=dict, repr=False)
    """For each fault the sum of its rates since it last struck; it strikes again when the sum reaches 1."""

    def strikes(self, name: str) -> bool:
        """Whether the fault of this name strikes the request at hand."""
        rate: float = getattr(self, name)
        if not rate:
            return False
        due = self._due.get(name, 0.0) + rate
        # Ten times 0.1 is a little less than 1.
        strikes = due > 1 - 1e-9
        self._due[name] = due - 1 if strikes else due
        return strikes

    def update(self, values: Mapping[str, object]) -> None:
        """Change some of them: all that are given, or none.

        Raises:
            ValueError: a name is unknown, or a value is out of range.
        """
        names = fault_names()
        for name, value in values.items():
            if name not in names:
                raise ValueError(f"no such fault: {name!r}; there are {', '.join(names)}")
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name} takes a number, not {value!r}")
            maximum = _LONGEST_RTT_MS if name == "rtt_ms" else 1
            if not 0 <= value <= maximum:
                raise ValueError(f"{name} must be between 0 and {maximum}, not {value}")
        for name, value in values.items():
            setattr(self, name, value)
            self._due.pop(name, None)

    def as_dict(self) -> dict[str, float]:
        """The present values by name."""
        values = asdict(self)
        return {name: values[name] for name in fault_names()}


def fault_names() -> tuple[str, ...]:
    """The names that `Faults.update` takes."""
    return tuple(item.name for item in fields(Faults) if not item.name.startswith("_"))
