"""Why a request failed, sorted by what a person would do about it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from engineroom.errors import EngineroomError

FailureKind: TypeAlias = Literal[
    "unreachable",
    "out of sockets",
    "TLS",
    "timeout",
    "cut off",
    "unauthorised",
    "not found",
    "bad request",
    "too large",
    "rate limited",
    "overloaded",
    "server error",
    "error in the stream",
    "not the API",
    "no tokens",
]

_KINDS_OF_STATUS: dict[int, FailureKind] = {
    401: "unauthorised",
    403: "unauthorised",
    404: "not found",
    405: "not found",
    408: "timeout",
    413: "too large",
    429: "rate limited",
    503: "overloaded",
    504: "timeout",
}


class RequestFailure(EngineroomError):
    """A request that failed. The text is what the server or the network gave as the reason.

    Attributes:
        status: the HTTP status; 0 where there was no response.
        retry_after_s: seconds after which the server asks to be tried again; None where it does not say.
    """

    def __init__(self, kind: FailureKind, reason: str, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s


def kind_of_status(status: int) -> FailureKind:
    """The kind of failure that a response's status is.

    Args:
        status: one that is no 2xx.
    """
    if status in _KINDS_OF_STATUS:
        return _KINDS_OF_STATUS[status]
    if status >= 500:
        return "server error"
    return "bad request" if status >= 400 else "not the API"
