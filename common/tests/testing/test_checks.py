"""The kit tells what a server does not offer from what it breaks, and every assertion of it says what was promised."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import engineroom.testing
from engineroom.engine import ASSUMED, Capabilities
from engineroom.testing import CHECKS, NotOffered, Target
from engineroom.testing.target import TargetResponse

DECLARED = Capabilities(logprobs=True, several_choices=True, json_schema=True)
PARAMS = {"logprobs_are_given": "logprobs", "several_choices": "n", "json_schema_is_kept": "response_format"}


class StandinResponse:
    """One response, the same to whatever is asked."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.headers = {"content-type": "application/json"}
        self._body = msgspec.json.encode(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body

    async def read(self) -> bytes:
        return self._body


def answering(status: int, body: Any, capabilities: Capabilities) -> Target:
    @asynccontextmanager
    async def call(method: str, path: str, sent: bytes) -> AsyncIterator[TargetResponse]:
        listed = {"object": "list", "data": [{"id": "m", "object": "model"}]}
        yield StandinResponse(200, listed) if path == "/v1/models" else StandinResponse(status, body)

    async def metrics() -> str:
        return ""

    return Target(call, metrics, capabilities=capabilities)


def error(message: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}


IGNORED = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "one"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5},
}


async def run(name: str, target: Target) -> None:
    (check,) = (check for check in CHECKS if check.name == name)
    await check(target)


@pytest.mark.parametrize("name", PARAMS)
async def test_an_honest_400_is_not_offered_unless_it_was_declared(name: str) -> None:
    for body in (error("no.", PARAMS[name]), error(f"This server has no `{PARAMS[name]}`.")):
        with pytest.raises(NotOffered):
            await run(name, answering(400, body, ASSUMED))
        with pytest.raises(AssertionError, match="is answered with 200; it was 400"):
            await run(name, answering(400, body, DECLARED))


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("capabilities", [ASSUMED, DECLARED], ids=["assumed", "declared"])
@pytest.mark.parametrize(
    ("status", "body"), [(200, IGNORED), (500, error("n logprobs response_format")), (400, error("Bad request."))]
)
async def test_what_is_ignored_or_fails_is_broken(
    name: str, capabilities: Capabilities, status: int, body: Any
) -> None:
    with pytest.raises(AssertionError) as broken:
        await run(name, answering(status, body, capabilities))
    assert str(broken.value), "it says what was promised"


@pytest.mark.parametrize("name", PARAMS)
async def test_what_is_not_declared_is_not_offered(name: str) -> None:
    with pytest.raises(NotOffered):
        await run(name, answering(200, IGNORED, Capabilities()))


async def test_a_route_that_the_engine_does_not_serve_is_not_offered() -> None:
    target = answering(200, IGNORED, DECLARED)
    target = Target(target.call, target._metrics, capabilities=DECLARED, paths={"/v1/embeddings"})
    for check in CHECKS:
        if check.name not in ("models_are_listed", "a_model_is_retrieved", "unknown_route_is_404"):
            with pytest.raises(NotOffered):
                await check(target)


@pytest.mark.parametrize("file", sorted(Path(engineroom.testing.__file__).parent.glob("*.py")), ids=lambda f: f.name)
def test_every_assertion_says_what_was_promised(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    silent = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert) and node.msg is None]
    assert not silent
