"""UPSTREAM_RUNPOD: servers that are named, wherever RunPod has put them, on the emulated platform."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from management_client import OURS, ManagementClient

from engineroom.errors import EngineStartError, SettingsError
from engineroom.settings import Environment, WorkerSettings
from engineroom.testing import engine_target, running
from engineroom_upstream import UpstreamEngine, deployments
from engineroom_workers.emulator.platform_server import RunningPlatform
from engineroom_workers.emulator.testing import running_platform

CPU = [{"id": "cpu3c", "vcpuCount": 2}]
KEY = "rpa_neverseen"


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[RunningPlatform]:
    async with running_platform(api_key=KEY) as running_one:
        yield running_one


@pytest.fixture
async def api(platform: RunningPlatform) -> AsyncIterator[ManagementClient]:
    client = ManagementClient(platform.url)
    client.http.headers["Authorization"] = f"Bearer {KEY}"
    async with client.http:
        yield client


async def queue(api: ManagementClient, name: str, **changes: Any) -> dict[str, Any]:
    """A queue endpoint whose workers run the echo engine on this machine."""
    env = {"MODEL_NAME": "echo", "ENGINE": "echo", **changes}
    body = {
        "name": name,
        "type": "QUEUE",
        "image": OURS,
        "cpu": CPU,
        "env": env,
        "scaling": {"type": "REQUEST_COUNT", "requestCount": 30},
    }
    endpoint: dict[str, Any] = await api.ok("POST", "/v2/serverless", body)
    return endpoint


def make(platform: RunningPlatform, names: str, **settings: str) -> UpstreamEngine:
    values = {"RUNPOD_API_URL": platform.url, "RUNPOD_API_KEY": KEY, "UPSTREAM_RUNPOD": names, **settings}
    env = Environment.of(values)
    return UpstreamEngine.configure(WorkerSettings.load(env), env)


async def chat(engine: UpstreamEngine) -> tuple[int, Any]:
    """Status and body of a chat's answer."""
    return await engine_target(engine).post(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}
    )


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    for _ in range(round(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"it did not come true in {seconds:g} s")


async def test_it_follows_a_deployment_that_is_made_anew(
    platform: RunningPlatform, api: ManagementClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployments, "INTERVAL_S", 0.1)
    first = await queue(api, "followed", OPENAI_SERVED_MODEL_NAME_OVERRIDE="first")
    async with running(make(platform, "followed")) as engine:
        assert engine.models == ("first",)
        status, body = await chat(engine)
        assert (status, body["model"]) == (200, "first")
        await api.ok("DELETE", f"/v2/serverless/{first['id']}")
        await until(lambda: not engine.health().ready)
        assert engine.health().live
        await queue(api, "followed", OPENAI_SERVED_MODEL_NAME_OVERRIDE="second")
        await until(lambda: engine.health().ready)
        assert engine.models == ("second",)
        status, body = await chat(engine)
        assert (status, body["model"]) == (200, "second")


async def test_what_cannot_be_asked_for_a_while_stays_as_it_is(
    platform: RunningPlatform, api: ManagementClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deployments, "INTERVAL_S", 0.05)
    await queue(api, "stays")
    async with running(make(platform, "stays")) as engine:
        platform.account.faults.update({"api_500": 1.0})
        try:
            await until(lambda: "HTTP 500" in caplog.text)
            assert (await chat(engine))[0] == 200
        finally:
            platform.account.faults.update({"api_500": 0.0})
        assert caplog.text.count("HTTP 500") == 1


async def test_a_check_starts_no_worker(platform: RunningPlatform, api: ManagementClient) -> None:
    endpoint = await queue(api, "costs-nothing")
    async with running(make(platform, "costs-nothing", UPSTREAM_CHECK="0.05")) as engine:
        await asyncio.sleep(0.5)
        assert engine.health().ready
        assert await api.workers(endpoint) == []


async def test_by_its_id(platform: RunningPlatform, api: ManagementClient) -> None:
    endpoint = await queue(api, "by-id")
    async with running(make(platform, endpoint["id"])) as engine:
        assert engine.models == ("echo",)


@pytest.mark.parametrize(
    ("names", "settings", "reason"),
    [
        ("nobody", {}, "there is no deployment nobody in the RunPod account"),
        ("twice", {}, "twice is the name of several deployments"),
        ("followed", {"RUNPOD_API_KEY": "wrong"}, "RunPod refuses RUNPOD_API_KEY"),
        ("followed", {"RUNPOD_API_URL": "http://127.0.0.1:9", "START_TIMEOUT": "1"}, "cannot be reached"),
    ],
)
async def test_why_it_cannot_start(
    platform: RunningPlatform, api: ManagementClient, names: str, settings: dict[str, str], reason: str
) -> None:
    if names == "twice":
        await queue(api, names)
        await queue(api, names)
    with pytest.raises(EngineStartError, match=reason) as raised:
        async with running(make(platform, names, **settings)):
            pass
    assert KEY not in str(raised.value)


async def test_names_and_urls_together(platform: RunningPlatform, api: ManagementClient) -> None:
    await queue(api, "together", OPENAI_SERVED_MODEL_NAME_OVERRIDE="third")
    other = await queue(api, "by-url")
    url = other["requestUrls"]["run"].removesuffix("/run") + "/openai/v1"
    both = {"UPSTREAM_URLS": url, "UPSTREAM_API_KEY": KEY, "UPSTREAM_CHECK": "0", "MODEL_NAME": "echo"}
    async with running(make(platform, "together", **both)) as engine:
        assert engine.models == ("echo", "third")


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"RUNPOD_API_KEY": ""}, "RUNPOD_API_KEY"),
        ({"UPSTREAM_API_KEY": "a,b"}, "UPSTREAM_API_KEY"),
        ({"RUNPOD_API_URL": "api.runpod.io"}, "RUNPOD_API_URL"),
        ({"RUNPOD_PROXY_URL": "https://proxy.runpod.net"}, "RUNPOD_PROXY_URL"),
    ],
)
def test_settings_that_are_wrong(platform: RunningPlatform, settings: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsError) as raised:
        make(platform, "followed", **settings)
    assert [problem.variable for problem in raised.value.problems] == [variable]
