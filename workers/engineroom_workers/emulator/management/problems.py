"""A request that the management API refuses, as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from ..http import encode


class RequestProblem(Exception):
    """Why a request is refused.

    status: HTTP's.
    detail: an explanation of this one refusal.
    errors: what is wrong with the request, field by field.
    headers: for the response.
    """

    def __init__(
        self, status: int, detail: str, errors: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer: an object with `title`, `status`, `detail` and, for a body that is wrong, `errors`."""
        document: dict[str, Any] = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        return Response(encode(document), self.status, self.headers, media_type="application/problem+json")


def no_such(kind: str, identifier: str) -> RequestProblem:
    """The refusal of an id that nothing has."""
    return RequestProblem(404, f"{kind} {identifier!r} does not exist")
