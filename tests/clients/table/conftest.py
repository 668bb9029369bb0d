"""Each client with each engine, and what the table of docs/clients.md is made of."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from importlib.metadata import version
from typing import Any

import pytest
from client_cases import JudgedServer
from client_engines import ENGINES, chosen

# None of them may tell anybody of the tests, or ask for what is not on this machine.
os.environ |= {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LANGSMITH_TRACING": "false",
    "PYDANTIC_AI_NO_BANNER": "1",
}


@pytest.fixture(scope="session", params=chosen())
def server(request: pytest.FixtureRequest) -> Iterator[JudgedServer]:
    """A server with each engine that is wanted (CLIENT_ENGINES), one after the other."""
    engine = ENGINES[request.param]
    if engine.missing is not None:
        pytest.skip(engine.missing)
    with engine.served() as url:
        yield JudgedServer(engine.name, url, engine.model, engine.echoes)


@pytest.fixture(autouse=True)
def _recorded(request: pytest.FixtureRequest, record_property: Any) -> None:
    """Say in the report of the results which cell of the table a test is."""
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if "server" not in given or not (hasattr(request.module, "CLIENT") or "client" in given):
        return
    client = given.get("client") or request.module.CLIENT
    case = given.get("case") or request.function.__name__.removeprefix("test_").replace("_", " ")
    surface = given.get("surface") or (request.cls or request.module).SURFACE
    record_property("cell", "|".join([client, surface, case, given["server"]]))
    package = getattr(request.module, "PACKAGE", client)
    if "(Node)" not in client and client != "AI SDK":
        record_property("version", f"{client}|{version(package)}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _refusal(error: BaseException, refuses: Any) -> str | None:
    """Why the engine does not offer what a case needs, where it said so with a 400."""
    for cause in _causes(error):
        if getattr(cause, "status_code", None) == 400:
            return next((why for sentence, why in refuses.items() if sentence in str(cause)), None)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A case that an engine is known not to offer is skipped, if it is refused as it should be."""
    try:
        return (yield)
    except Exception as error:
        server = pyfuncitem.funcargs.get("server")
        refuses = ENGINES[server.engine].refuses if isinstance(server, JudgedServer) else {}
        if (why := _refusal(error, refuses)) is not None:
            pytest.skip(f"not offered: {why}")
        raise
