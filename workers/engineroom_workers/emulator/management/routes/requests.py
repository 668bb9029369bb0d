"""What the routes have in common: bodies, queries and answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from ...http import encode
from ..bodies.base import ReceivedBody, parse
from ..problems import RequestProblem

B = TypeVar("B", bound=ReceivedBody)
C = TypeVar("C", bound=str)


async def body_of(request: Request, model: type[B]) -> B:
    """The body of a request. Raises RequestProblem where it is wrong."""
    return parse(model, await request.body())


def answer(value: Any, status: int = 200) -> Response:
    """A response in JSON."""
    return Response(encode(value), status, media_type="application/json")


def created(value: Any) -> Response:
    """The answer to a request that made something."""
    return answer(value, 201)


def no_content() -> Response:
    """The answer to a request after which there is nothing to show."""
    return Response(status_code=204)


def query_list(request: Request, name: str, allowed: Sequence[str] | None = None) -> list[str]:
    """The values of a parameter, which are separated by commas.

    Raises:
        RequestProblem: 422 if one is not allowed.
    """
    values = [value for part in request.query_params.getlist(name) for value in part.split(",") if value]
    for value in values:
        if allowed is not None and value not in allowed:
            raise wrong_query(f"{name}: {value!r} is none of {', '.join(allowed)}")
    return values


def query_choice(request: Request, name: str, allowed: Sequence[C], default: C | None) -> C | None:
    """One value of a parameter that takes these. Raises RequestProblem (422) for another."""
    value = request.query_params.get(name)
    if value is None:
        return default
    for choice in allowed:
        if choice == value:
            return choice
    raise wrong_query(f"{name}: {value!r} is none of {', '.join(allowed)}")


def query_bool(request: Request, name: str) -> bool | None:
    """A parameter that is `true` or `false`; None where it is absent. Raises RequestProblem (422) for anything else."""
    value = query_choice(request, name, ("true", "false"), None)
    return None if value is None else value == "true"


def query_int(request: Request, name: str, minimum: int, maximum: int | None = None) -> int | None:
    """A parameter that is a number; None where it is absent. Raises RequestProblem (422) where it is out of range."""
    value = request.query_params.get(name)
    if value is None:
        return None
    if not value.isdecimal() or int(value) < minimum or (maximum is not None and int(value) > maximum):
        upper = "" if maximum is None else f" and at most {maximum}"
        raise wrong_query(f"{name}: {value!r} is no number of at least {minimum}{upper}")
    return int(value)


def wrong_query(error: str) -> RequestProblem:
    """The refusal of a parameter that does not match the schema."""
    return RequestProblem(422, "the query does not match the schema", [error])
