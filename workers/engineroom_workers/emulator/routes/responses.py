"""Responses of the routes that Starlette serves."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ..http import encode


def json_response(value: Any, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


def error_response(status: int, message: str) -> Response:
    return json_response({"error": message}, status)


def job_not_found() -> Response:
    return error_response(404, "no such job, or its result has expired")
