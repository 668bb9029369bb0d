"""What the management API creates really runs: workers of endpoints, and pods, as processes of this machine."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import psutil
import pytest
from management_client import BY_COUNT, OURS, ManagementClient

from engineroom_workers.emulator.platform_server import RunningPlatform
from engineroom_workers.emulator.testing import running_platform

IMAGES = (
    ("sleeper", "sleep 1000"),
    ("broken", "sh -c 'echo no such model; exit 3'"),
    ("done", "true"),
    ("printer", "sh -c 'echo $MODELS $TOKEN; echo $MODELS/a > $MODELS/a; sleep 1000'"),
)
AS_SERVER = {"image": OURS, "env": {"ENGINE": "echo", "WORKER": "http", "PORT": "8000"}, "ports": ["8000/http"]}
POD_GPU = {"id": "NVIDIA L4"}
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[RunningPlatform]:
    before = set(psutil.Process().children(recursive=True))
    async with running_platform(IMAGES, hold=1) as running:
        yield running
    left = set(psutil.Process().children(recursive=True)) - before
    assert not left, "something outlived the platform"


@pytest.fixture
async def api(platform: RunningPlatform) -> AsyncIterator[ManagementClient]:
    client = ManagementClient(platform.url)
    async with client.http:
        yield client
        for endpoint in (await client.ok("GET", "/v2/serverless"))["endpoints"]:
            await client.ok("DELETE", f"/v2/serverless/{endpoint['id']}")
        for pod in (await client.ok("GET", "/v2/pods"))["pods"]:
            await client.ok("DELETE", f"/v2/pods/{pod['id']}")
        await client.http.post("/emulator/stock", json={"NVIDIA L4": "HIGH", "NVIDIA GeForce RTX 4090": "HIGH"})


async def pod_when(api: ManagementClient, pod: dict[str, Any], status: str) -> dict[str, Any]:
    """The pod, once it is in that state."""
    deadline = time.monotonic() + 60
    while (current := await api.ok("GET", f"/v2/pods/{pod['id']}"))["status"] != status:
        assert time.monotonic() < deadline, current
        await anyio.sleep(0.02)
    return dict(current)


async def log_until(api: ManagementClient, path: str, word: str) -> list[dict[str, Any]]:
    """The lines of a log up to the one that has a word."""
    lines: list[dict[str, Any]] = []
    with anyio.fail_after(60):
        async with api.http.stream("GET", path) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    lines.append(json.loads(line.removeprefix("data: ")))
                    if word in lines[-1]["line"]:
                        return lines
    raise AssertionError(lines)


async def answered(url: str, client: httpx.AsyncClient) -> httpx.Response:
    """The answer of a server that is still starting behind a proxy."""
    deadline = time.monotonic() + 60
    while (response := await client.post(url, json=CHAT)).status_code in (502, 503):
        assert time.monotonic() < deadline, response.text
        await anyio.sleep(0.05)
    return response


def states(*wanted: str) -> Callable[[list[dict[str, Any]]], bool]:
    """Whether the workers are in these states."""
    return lambda workers: sorted(worker["status"] for worker in workers) == sorted(wanted)


async def test_a_queue_endpoint_from_its_creation_to_its_end(api: ManagementClient, platform: RunningPlatform) -> None:
    endpoint = await api.endpoint(workers={"min": 0, "max": 1}, env={"OPENAI_SERVED_MODEL_NAME_OVERRIDE": "mine"})
    path = f"/v2/serverless/{endpoint['id']}"
    assert await api.workers(endpoint) == [], "no worker before the first request"
    base = endpoint["requestUrls"]["run"].removesuffix("/run")
    response = await api.http.post(f"{base}/openai/v1/chat/completions", json={**CHAT, "model": "mine"})
    assert response.json()["choices"][0]["message"]["content"] == "hello there"
    assert response.json()["model"] == "mine"
    [worker] = await api.workers_when(endpoint, states("IDLE"))
    assert (worker["gpuTypeId"], worker["version"], worker["isStale"]) == ("NVIDIA GeForce RTX 4090", 1, False)
    lines = await log_until(api, f"{path}/workers/{worker['id']}/logs", "ready")
    assert {line["source"] for line in lines} == {"system", "container"}
    resumed = await log_until(api, f"{path}/workers/{worker['id']}/logs?since={lines[-2]['ts']}", "ready")
    assert resumed == lines[-1:]
    bill = await api.ok("GET", f"/v2/billing/serverless?serverlessId={endpoint['id']}&bucketSize=hour&lastN=2")
    assert bill["metadata"]["totals"]["gpuAmount"] > 0
    # Another image, so that the worker must be replaced.
    await api.ok("PATCH", path, {"image": "sleeper"})
    [another] = await api.workers_when(endpoint, lambda workers: len(workers) == 0 or workers[0]["version"] == 2) or [
        {}
    ]
    assert another.get("id") != worker["id"]
    await api.ok("DELETE", path)
    assert (await api.http.post(f"{base}/run", json={"input": 1})).status_code == 404


async def test_flashboot_keeps_a_worker_and_wakes_it(api: ManagementClient) -> None:
    scaling = {"type": "QUEUE_DELAY", "queueDelay": 1}
    endpoint = await api.endpoint(flashboot="FLASHBOOT", scaling=scaling, workers={"max": 1, "idleTimeout": 1})
    urls = endpoint["requestUrls"]
    first = (await api.http.post(urls["runSync"], json={"input": {"prompt": "one"}})).json()
    await api.workers_when(endpoint, states())
    second = (await api.http.post(urls["runSync"], json={"input": {"prompt": "two"}})).json()
    assert (first["status"], second["status"]) == ("COMPLETED", "COMPLETED")
    assert first["workerId"] == second["workerId"]


async def test_a_load_balancing_endpoint_streams(api: ManagementClient) -> None:
    endpoint = await api.endpoint(type="LOAD_BALANCER", workers={"max": 1}, **AS_SERVER)
    url = f"{endpoint['requestUrls']['base']}/v1/chat/completions"
    chunks = []
    async with api.http.stream("POST", url, json={**CHAT, "stream": True}) as response:
        assert response.status_code == 200
        assert response.headers["x-runpod-worker-id"]
        async for line in response.aiter_lines():
            chunks.append(line)
    assert "data: [DONE]" in chunks
    assert (await api.http.get(endpoint["requestUrls"]["health"])).status_code == 200
    await api.workers_when(endpoint, states("IDLE"))


async def test_flashboot_behind_a_load_balancer(api: ManagementClient) -> None:
    workers = {"max": 1, "idleTimeout": 1}
    endpoint = await api.endpoint(type="LOAD_BALANCER", flashboot="FLASHBOOT", workers=workers, **AS_SERVER)
    url = f"{endpoint['requestUrls']['base']}/v1/chat/completions"
    first = await api.http.post(url, json=CHAT)
    await api.workers_when(endpoint, states())
    second = await api.http.post(url, json=CHAT)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.headers["x-runpod-worker-id"] == second.headers["x-runpod-worker-id"]


async def test_a_port_that_the_load_balancer_cannot_find_is_named(api: ManagementClient) -> None:
    for changes, reason in (
        ({"env": {"PORT": "8000"}, "ports": []}, "8000/http is not among the exposed ports"),
        ({"env": {"WORKER": "http"}, "ports": ["80/http"]}, "port 80, and the container does not listen there"),
    ):
        min_one = {"min": 1, "max": 1}
        endpoint = await api.endpoint(type="LOAD_BALANCER", workers=min_one, **{**AS_SERVER, **changes})
        [worker] = await api.workers_when(endpoint, states("INITIALIZING"))
        await log_until(api, f"/v2/serverless/{endpoint['id']}/workers/{worker['id']}/logs", reason)
        await api.ok("DELETE", f"/v2/serverless/{endpoint['id']}")


async def test_a_worker_that_cannot_start_is_unhealthy_and_says_why(api: ManagementClient) -> None:
    for image, reason in (("broken", "code 3; its last line: no such model"), ("someone/else:1", "someone/else:1")):
        endpoint = await api.endpoint(image=image, workers={"min": 1, "max": 1})
        [worker] = await api.workers_when(endpoint, states("UNHEALTHY"))
        await log_until(api, f"/v2/serverless/{endpoint['id']}/workers/{worker['id']}/logs", reason)
        # It is replaced after a pause.
        await api.workers_when(endpoint, lambda workers, old=worker: workers and workers[0]["id"] != old["id"])
        await api.ok("DELETE", f"/v2/serverless/{endpoint['id']}")


async def test_workers_wait_for_capacity(api: ManagementClient) -> None:
    stock = await api.http.post("/emulator/stock", json={"NVIDIA GeForce RTX 4090": "NONE"})
    assert stock.json() == {"NVIDIA GeForce RTX 4090": "NONE"}
    assert (await api.http.post("/emulator/stock", json={"mine": "NONE"})).status_code == 400
    endpoint = await api.endpoint(image="sleeper", workers={"min": 2, "max": 2})
    workers = await api.workers_when(endpoint, states("THROTTLED", "THROTTLED"))
    assert {worker["gpuTypeId"] for worker in workers} == {None}
    await api.http.post("/emulator/stock", json={"NVIDIA GeForce RTX 4090": "LOW"})
    await api.workers_when(endpoint, states("INITIALIZING", "INITIALIZING"))
    await api.ok("PATCH", f"/v2/serverless/{endpoint['id']}", {"workers": {"min": 0, "max": 0}})
    await api.workers_when(endpoint, states())


async def test_a_pods_life(api: ManagementClient) -> None:
    pod = await api.ok("POST", "/v2/pods", {"name": "p", "image": "sleeper", "gpu": {**POD_GPU, "count": 2}})
    path = f"/v2/pods/{pod['id']}"
    assert (pod["status"], pod["actions"], pod["startedAt"]) == ("PROVISIONING", ["stop", "terminate"], None)
    running = await pod_when(api, pod, "RUNNING")
    price = (await api.ok("GET", "/v2/catalog/gpus/NVIDIA%20L4"))["price"]["secure"]
    assert running["cost"] == pytest.approx(2 * price)
    assert running["actions"] == ["stop", "restart", "terminate"]
    assert (await api.refusal("POST", f"{path}/action", {"action": "start"}))[0] == 409
    await api.ok("PATCH", path, {"locked": True})
    assert (await api.refusal("POST", f"{path}/action", {"action": "stop"}))[0] == 409
    await api.ok("PATCH", path, {"locked": False})
    stopped = await api.ok("POST", f"{path}/action", {"action": "stop"})
    assert (stopped["status"], stopped["cost"], stopped["runtime"]) == ("EXITED", 0, None)
    await api.http.post("/emulator/stock", json={"NVIDIA L4": "NONE"})
    assert (await api.refusal("POST", f"{path}/action", {"action": "start"}))[0] == 400
    await api.http.post("/emulator/stock", json={"NVIDIA L4": "HIGH"})
    assert (await api.ok("POST", f"{path}/action", {"action": "start"}))["status"] == "PROVISIONING"
    await pod_when(api, pod, "RUNNING")
    assert (await api.ok("PATCH", path, {"env": {"A": "1"}}))["status"] == "STARTING", "the container starts anew"
    await pod_when(api, pod, "RUNNING")
    assert (await api.ok("POST", f"{path}/action", {"action": "restart"}))["status"] == "STARTING"
    assert await api.ok("POST", f"{path}/action", {"action": "terminate"}) is None
    assert (await api.refusal("GET", path))[0] == 404
    bill = await api.ok("GET", f"/v2/billing/pods?podId={pod['id']}&lastN=1")
    assert bill["metadata"]["totals"]["gpuAmount"] > 0
    everything = await api.ok("GET", "/v2/billing?lastN=1&bucketSize=month")
    assert everything["metadata"]["totals"]["podGpuAmount"] >= bill["metadata"]["totals"]["gpuAmount"]


async def test_a_pod_serves_http(api: ManagementClient, platform: RunningPlatform) -> None:
    pod = await api.ok("POST", "/v2/pods", {"name": "p", "cpu": {"id": "cpu3c", "vcpuCount": 2}, **AS_SERVER})
    url = f"{platform.url}/proxy/{pod['id']}"
    async with httpx.AsyncClient() as anyone:
        response = await answered(f"{url}/8000/v1/chat/completions", anyone)
        assert response.json()["choices"][0]["message"]["content"] == "hello there"
        async with anyone.stream("POST", f"{url}/8000/v1/chat/completions", json={**CHAT, "stream": True}) as stream:
            assert "data: [DONE]" in [line async for line in stream.aiter_lines()]
        assert (await anyone.get(f"{url}/8001/ping")).status_code == 502
        assert (await anyone.get(f"{platform.url}/proxy/none/8000/")).status_code == 404
    runtime = (await pod_when(api, pod, "RUNNING"))["runtime"]
    assert [port["private"] for port in runtime["ports"]] == [8000]


async def test_a_pods_end_by_itself(api: ManagementClient) -> None:
    for image, status in (("done", "EXITED"), ("broken", "ERROR"), ("someone/else:1", "ERROR")):
        pod = await api.ok("POST", "/v2/pods", {"name": "p", "image": image, "gpu": POD_GPU})
        assert (await pod_when(api, pod, status))["actions"] == ["start", "terminate"]
    await log_until(api, f"/v2/pods/{pod['id']}/logs?source=system", "no program")


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"gpu": None}, 422, "gpu"),
        ({"gpu": {"id": "ADA_24"}}, 400, "ADA_24"),
        ({"gpu": {"id": "NVIDIA L4", "count": 99}}, 400, "count"),
        ({"gpu": {"id": "NVIDIA L4", "pools": []}}, 422, "pools"),
        ({"gpu": {"id": "NVIDIA A100-SXM4-40GB"}}, 400, "SECURE"),
        ({"gpu": {"id": "NVIDIA L4", "minCudaVersion": "99.0"}}, 400, "CUDA"),
        ({"cpu": {"id": "cpu3c", "vcpuCount": 2}}, 400, "exactly one"),
        ({"cloud": "MINE"}, 422, "cloud"),
        ({"dataCenterIds": ["XX-1"]}, 400, "XX-1"),
        ({"templateId": "none"}, 404, "template"),
        ({"mounts": {"persistent": {"size": 9, "path": "/w"}}}, 422, "size"),
        ({"mounts": {"network": [{"volumeId": "none", "path": "/w"}]}}, 404, "none"),
        ({"mounts": {"network": [{"volumeId": "none"}]}}, 422, "path"),
        ({"workers": {}}, 422, "workers"),
    ],
)
async def test_a_pod_that_is_refused(api: ManagementClient, changes: dict[str, Any], status: int, word: str) -> None:
    body = {"name": "p", "image": "sleeper", "gpu": POD_GPU, **changes}
    refused, detail = await api.refusal("POST", "/v2/pods", body)
    assert (refused, word in detail) == (status, True), detail


async def test_a_pods_mounts_stay_what_they_are(api: ManagementClient) -> None:
    volume = await api.ok("POST", "/v2/network-volumes", {"name": "v", "size": 10, "dataCenter": "EU-RO-1"})
    mount = {"volumeId": volume["id"], "path": "/workspace"}
    body = {"name": "p", "image": "sleeper", "gpu": POD_GPU, "mounts": {"network": [mount]}}
    assert (await api.refusal("POST", "/v2/pods", {**body, "dataCenterIds": ["US-KS-2"]}))[0] == 400
    pod = await api.ok("POST", "/v2/pods", body)
    assert pod["dataCenterId"] == "EU-RO-1"
    path = f"/v2/pods/{pod['id']}"
    moved = await api.ok("PATCH", path, {"mounts": {"network": [{**mount, "path": "/models"}]}})
    assert moved["mounts"]["network"][0]["path"] == "/models"
    for wrong in (
        {"network": []},
        {"network": [{**mount, "volumeId": "other"}]},
        {"persistent": {"size": 10, "path": "/"}},
    ):
        assert (await api.refusal("PATCH", path, {"mounts": wrong}))[0] == 400
    assert (await api.refusal("DELETE", f"/v2/network-volumes/{volume['id']}"))[0] == 400


async def test_volumes_and_secrets(api: ManagementClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_SECRET_token", "hf_told")
    volume = await api.ok("POST", "/v2/network-volumes", {"name": "v", "size": 10, "dataCenter": "EU-RO-1"})
    env = {"MODELS": "/runpod-volume/", "TOKEN": "{{ RUNPOD_SECRET_token }} {{ RUNPOD_SECRET_none }}"}
    endpoint = await api.endpoint(image="printer", env=env, networkVolumes=[volume["id"]], workers={"min": 1})
    [worker] = await api.workers_when(endpoint, lambda workers: workers)
    logs = f"/v2/serverless/{endpoint['id']}/workers/{worker['id']}/logs"
    lines = await log_until(api, logs, "hf_told {{ RUNPOD_SECRET_none }}")
    assert any("set RUNPOD_SECRET_none" in line["line"] for line in lines)
    folder = lines[-1]["line"].partition(" ")[0]
    # Another pod has the same volume, at a path of its own.
    mounts = {"network": [{"volumeId": volume["id"], "path": "/models"}]}
    body = {"name": "p", "image": "printer", "gpu": POD_GPU, "mounts": mounts, "env": {"MODELS": "/models"}}
    pod = await api.ok("POST", "/v2/pods", body)
    await log_until(api, f"/v2/pods/{pod['id']}/logs?source=container", folder.rstrip("/"))
    endpoint = await api.ok("GET", f"/v2/serverless/{endpoint['id']}")
    assert endpoint["env"]["TOKEN"] == env["TOKEN"], "a secret is no part of the settings"


async def test_the_parts_that_there_are_none_of(api: ManagementClient) -> None:
    assert await api.ok("GET", "/v2/clusters") == {"clusters": []}
    assert (await api.refusal("GET", "/v2/clusters/none/pods"))[0] == 404
    compute = {"gpuTypeId": "NVIDIA L4", "gpuCountPerPod": 1, "podCount": 2}
    cluster = {"name": "c", "type": "TRAINING", "compute": compute, "image": OURS}
    assert (await api.refusal("POST", "/v2/clusters", cluster))[0] == 501
    for family in ("endpoints", "network-volumes", "clusters"):
        assert (await api.ok("GET", f"/v2/billing/{family}"))["records"] == []
    for wrong in (
        "lastN=1&startTime=2026-01-01T00:00:00Z",
        "startTime=2026-02-01T00:00:00Z&endTime=2026-01-01T00:00:00Z",
    ):
        assert (await api.refusal("GET", f"/v2/billing?{wrong}"))[0] == 400
    for wrong in ("bucketSize=minute", "lastN=0", "startTime=yesterday"):
        assert (await api.refusal("GET", f"/v2/billing/pods?{wrong}"))[0] == 422
    window = await api.ok(
        "GET", "/v2/billing?startTime=2026-01-31T12:00:00Z&endTime=2026-02-01T00:00:01Z&bucketSize=month"
    )
    query = window["metadata"]["query"]
    assert (query["startTime"], query["endTime"]) == ("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z")


async def test_requests_count(api: ManagementClient) -> None:
    """REQUEST_COUNT asks for a worker for each request that there is, up to the most."""
    endpoint = await api.endpoint(image="sleeper", scaling=BY_COUNT, workers={"max": 3})
    for _ in range(2):
        await api.http.post(endpoint["requestUrls"]["run"], json={"input": {}})
    await api.workers_when(endpoint, states("INITIALIZING", "INITIALIZING"))
    for _ in range(4):
        await api.http.post(endpoint["requestUrls"]["run"], json={"input": {}})
    await api.workers_when(endpoint, states(*["INITIALIZING"] * 3))
