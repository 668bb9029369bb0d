"""The errors that other packages see: those of a start, which a person reads, and those of the API, for clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


def drop_tracebacks(error: BaseException) -> None:
    """Forget the frames through which a handled error came, and those of the errors behind it.

    An error that something keeps, a task or a frame of its own traceback, keeps all their variables, the request among
    them, until Python's collector of cycles comes by.
    """
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            pending += (one.__cause__, one.__context__)


class EngineroomError(Exception):
    """The base of all errors that engineroom raises on purpose. The text is for a person."""


class EngineStartError(EngineroomError):
    """An engine could not be started. The text says why, and what to do about it.

    Attributes:
        log: the last lines that the engine wrote, oldest first; empty if it wrote none.
        logged: whether these lines are in our own log, too.
        safer: settings and values with which it needs less memory, where it ran out of that and says how; else empty.
    """

    def __init__(
        self, reason: str, log: Sequence[str] = (), *, logged: bool = False, safer: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.log = tuple(log)
        self.logged = logged
        self.safer = dict(safer or {})


class PluginError(EngineroomError):
    """An engine or a door is missing, broken, or installed twice. The text says what to install or to remove."""


class Problem(NamedTuple):
    """One thing that is wrong with the settings.

    variable: the name of the setting.
    source: where its value comes from, e.g. `.env`; empty if it has none.
    """

    variable: str
    message: str
    source: str = ""

    def __str__(self) -> str:
        where = f" (from {self.source})" if self.source else ""
        return f"{self.variable}{where}: {self.message}"


class SettingsError(EngineroomError):
    """The settings are wrong. It has all problems, so that one run names all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Problems:
    """Collects what is wrong with the settings while they are read, so that one run names all of it."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def add(self, variable: str, message: str, source: str = "") -> None:
        """One more `Problem`."""
        self._problems.append(Problem(variable, message, source))

    def extend(self, problems: Iterable[Problem]) -> None:
        """Several more."""
        self._problems.extend(problems)

    def collect(self, read: Callable[[], T], otherwise: T) -> T:
        """What `read` returns; `otherwise` where it raises a SettingsError, whose problems are kept."""
        try:
            return read()
        except SettingsError as error:
            self._problems += error.problems
            return otherwise

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._problems)

    def check(self) -> None:
        """Raises SettingsError where there is any problem, each of them once."""
        if self._problems:
            raise SettingsError(list(dict.fromkeys(self._problems)))


class APIError(EngineroomError):
    """An error for the client, in OpenAI's terms.

    Args:
        message: what is wrong, in words that a client's user understands; no traceback, no path of ours.
        status: HTTP status.
        type: OpenAI's error type; `invalid_request_error` below 500 and `server_error` from 500 unless given.
        param: the field of the request that is wrong, dotted (`messages.0.role`), or None.
        code: a short machine-readable code, or None.
        retry_after: seconds after which a retry makes sense, sent as `Retry-After`; None sends none.
        allow: the methods that a route has, sent as `Allow` with a 405.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        allow: Iterable[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type or ("server_error" if status >= 500 else "invalid_request_error")
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.allow = tuple(sorted(allow))


def engine_dead(reason: str) -> APIError:
    """The error for clients of an engine that is dead. The worker is about to be replaced, so they may try again."""
    return APIError(f"The engine is gone: {reason}.", status=503, code="engine_dead", retry_after=10)


def incomplete_stream() -> APIError:
    """What a client gets whose engine ended a stream before it was complete."""
    return APIError("The engine ended the stream before it was complete.", status=502, code="engine_error")
