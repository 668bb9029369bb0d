"""What can be made to go wrong on the worker's side, and how slow its way to the platform is; changed at run time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields


@dataclass(slots=True)
class Faults:
    """Rates between 0 (never) and 1 (always), spread evenly: at 0.25 every fourth request is struck, no dice.

    rtt_ms: milliseconds that every POST of a worker spends on its way before it takes effect.
    fail_stream: job-stream answers 500 and loses the chunk.
    fail_done: job-done answers 500 and loses the result.
    fail_take: job-take answers 500.
    take_429: job-take answers 429.
    take_400: job-take answers 400, as the platform does with FlashBoot.
    redeliver: a job that was handed out is at once put back into the queue, so that it is handed out again.
    """

    rtt_ms: float = 0.0
    fail_stream: float = 0.0
    fail_done: float = 0.0
    fail_take: float = 0.0
    take_429: float = 0.0
    take_400: float = 0.0
    redeliver: float = 0.0
    _due: dict[str, float] = field(default_factory=dict, repr=False)

    def strikes(self, name: str) -> bool:
        """Whether fault `name` strikes the request at hand."""
        rate: float = getattr(self, name)
        if not rate:
            return False
        due = self._due.get(name, 0.0) + rate
        # Ten times 0.1 is a little less than 1.
        strikes = due > 1 - 1e-9
        self._due[name] = due - 1 if strikes else due
        return strikes

    def update(self, values: Mapping[str, object]) -> None:
        """Change some of them; all or nothing.

        Raises:
            ValueError: a name is unknown, or a value out of range.
        """
        known = names()
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"no such fault: {name!r}; there are {', '.join(known)}")
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name} takes a number, not {value!r}")
            most = 60_000 if name == "rtt_ms" else 1
            if not 0 <= value <= most:
                raise ValueError(f"{name} must be between 0 and {most}, not {value}")
        for name, value in values.items():
            setattr(self, name, value)
            self._due.pop(name, None)

    def as_dict(self) -> dict[str, float]:
        values = asdict(self)
        return {name: values[name] for name in names()}


def names() -> tuple[str, ...]:
    """All that `Faults.update` takes."""
    return tuple(item.name for item in fields(Faults) if not item.name.startswith("_"))
