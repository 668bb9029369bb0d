"""Templates, registries, volumes, the catalogue and endpoints as a client of the management API sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from management_client import BY_COUNT, BY_DELAY, GPU, OURS, ManagementClient
from runpod_contract import needed_contract

from engineroom_workers.emulator.platform_server import RunningPlatform
from engineroom_workers.emulator.testing import running_platform


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[RunningPlatform]:
    """One platform for all tests of this module; no worker starts in them."""
    async with running_platform() as running:
        yield running


@pytest.fixture
async def api(platform: RunningPlatform) -> AsyncIterator[ManagementClient]:
    client = ManagementClient(platform.url)
    async with client.http:
        yield client


def queue(**changes: Any) -> dict[str, Any]:
    return {"name": "e", "type": "QUEUE", "scaling": BY_DELAY, "image": OURS, "gpu": GPU, **changes}


def test_the_answers_are_held_against_runpods_own_file() -> None:
    contract = needed_contract()
    assert contract.answer_problems("GET", "/v2/templates", 200, "application/json", b"{}")
    assert contract.request_problems("POST", "/v2/templates", {"name": "a"})


async def test_a_request_needs_a_key(api: ManagementClient) -> None:
    api.http.headers.pop("Authorization")
    assert await api.refusal("GET", "/v2/templates") == (401, '["missing bearer token"]')


async def test_the_key_is_the_emulators_where_it_has_one() -> None:
    async with running_platform(api_key="sk") as running:
        client = ManagementClient(running.url)
        async with client.http:
            assert await client.refusal("GET", "/v2/templates") == (401, '["invalid bearer token"]')
            client.http.headers["Authorization"] = "Bearer sk"
            assert await client.ok("GET", "/v2/templates") == {"templates": []}


async def test_a_templates_life(api: ManagementClient) -> None:
    template = await api.ok("POST", "/v2/templates", {"name": "t", "image": OURS, "env": {"A": "1"}, "disk": 5})
    path = f"/v2/templates/{template['id']}"
    assert (template["env"], template["disk"], template["category"]) == ({"A": "1"}, 5, "NVIDIA")
    assert template in (await api.ok("GET", "/v2/templates"))["templates"]
    changed = await api.ok("PATCH", path, {"env": {"B": "2"}, "mounts": {"persistent": {"size": 20, "path": "/w"}}})
    assert changed == {**template, "env": {"B": "2"}, "mounts": {"persistent": {"size": 20, "path": "/w"}}}
    assert await api.ok("PATCH", path, {"mounts": {}}) == changed == await api.ok("GET", path)
    assert await api.ok("DELETE", path) is None
    assert (await api.refusal("GET", path))[0] == 404
    assert (await api.refusal("DELETE", path))[0] == 404


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"name": "t"}, 422, "image"),
        ({"name": "", "image": "i"}, 422, "name"),
        ({"name": "t", "image": "i", "disc": 3}, 422, "disc"),
        ({"name": "t", "image": "i", "disk": "3"}, 422, "disk"),
        ({"name": "t", "image": "i", "disk": 0}, 422, "disk"),
        ({"name": "t", "image": "i", "env": {"A": 1}}, 422, "env.A"),
        ({"name": "t", "image": "i", "category": "GPU"}, 422, "category"),
        ({"name": "t", "image": "i", "mounts": {"network": []}}, 422, "mounts.network"),
        ({"name": "t", "image": "i", "allowedCudaVersions": ["12"]}, 422, "allowedCudaVersions"),
        ({"name": "t", "image": "i", "registry": "none"}, 404, "registry"),
    ],
)
async def test_a_template_that_is_refused(api: ManagementClient, body: object, status: int, word: str) -> None:
    refused, detail = await api.refusal("POST", "/v2/templates", body)
    assert refused == status
    assert word in detail


async def test_a_body_that_is_not_json(api: ManagementClient) -> None:
    assert (await api.refusal("POST", "/v2/templates", content=b"{"))[0] == 400


async def test_paths_and_methods_that_are_none(api: ManagementClient) -> None:
    assert (await api.refusal("GET", "/v2/templates/a/b"))[0] == 404
    assert (await api.refusal("PUT", "/v2/templates"))[0] == 405


async def test_registries_show_no_credentials_and_templates_lose_them(api: ManagementClient) -> None:
    registry = await api.ok("POST", "/v2/registries", {"name": "r", "username": "u", "password": "secret"})
    assert registry == {"id": registry["id"], "name": "r"}
    template = await api.ok("POST", "/v2/templates", {"name": "t", "image": OURS, "registry": registry["id"]})
    assert template["registry"] == registry["id"]
    assert await api.ok("DELETE", f"/v2/registries/{registry['id']}") is None
    assert (await api.ok("GET", f"/v2/templates/{template['id']}"))["registry"] is None
    assert (await api.refusal("GET", f"/v2/registries/{registry['id']}"))[0] == 404


async def test_a_registry_that_is_gone_does_not_hinder_a_change(api: ManagementClient) -> None:
    registry = await api.ok("POST", "/v2/registries", {"name": "r", "username": "u", "password": "secret"})
    endpoint = await api.endpoint(registry=registry["id"])
    await api.ok("DELETE", f"/v2/registries/{registry['id']}")
    path = f"/v2/serverless/{endpoint['id']}"
    assert (await api.ok("PATCH", path, {"name": "other"}))["name"] == "other"
    assert (await api.refusal("PATCH", path, {"registry": registry["id"]}))[0] == 404
    assert (await api.ok("PATCH", path, {"registry": None}))["registry"] is None


async def test_delegations_and_keys(api: ManagementClient) -> None:
    resource = "arn:aws:ecr:us-east-1:123456789012:repository/mine"
    delegation = await api.ok("POST", "/v2/registries/delegations", {"resource": resource})
    assert delegation["repository"] == "mine"
    assert (await api.ok("GET", "/v2/registries/delegations"))["delegations"] == [delegation]
    assert await api.ok("DELETE", f"/v2/registries/delegations/{delegation['id']}") is None
    assert (await api.refusal("POST", "/v2/registries/delegations", {"resource": "mine"}))[0] == 400
    key = "ssh-ed25519 AAAA me"
    assert await api.ok("PUT", "/v2/account/ssh-keys", {"keys": [key]}) == {"keys": [key]}
    assert await api.ok("GET", "/v2/account/ssh-keys") == {"keys": [key]}
    assert (await api.refusal("PUT", "/v2/account/ssh-keys", {"keys": ["mine"]}))[0] == 422


async def test_a_volumes_life(api: ManagementClient) -> None:
    center = (await api.ok("GET", "/v2/catalog/datacenters?networkVolumeTypes=STANDARD"))["dataCenters"][0]["id"]
    volume = await api.ok("POST", "/v2/network-volumes", {"name": "v", "size": 50, "dataCenter": center})
    path = f"/v2/network-volumes/{volume['id']}"
    assert await api.ok("PATCH", path, {"size": 60}) == {**volume, "size": 60}
    assert (await api.refusal("PATCH", path, {"size": 50}))[0] == 400
    assert (await api.refusal("PATCH", path, {}))[0] == 422
    endpoint = await api.endpoint(networkVolumes=[volume["id"]])
    assert (await api.refusal("DELETE", path))[0] == 400
    await api.ok("DELETE", f"/v2/serverless/{endpoint['id']}")
    assert await api.ok("DELETE", path) is None
    assert path not in str(await api.ok("GET", "/v2/network-volumes"))


@pytest.mark.parametrize("size", [9, 4097, 50.5, "50"])
async def test_a_volumes_size(api: ManagementClient, size: object) -> None:
    body = {"name": "v", "size": size, "dataCenter": "EU-RO-1"}
    assert (await api.refusal("POST", "/v2/network-volumes", body))[0] == 422


async def test_the_catalogue(api: ManagementClient) -> None:
    gpus = (await api.ok("GET", "/v2/catalog/gpus"))["gpus"]
    assert all("availability" not in gpu for gpu in gpus)
    query = "include=AVAILABILITY&product=POD&count=2&minCudaVersion=12"
    [one] = [gpu for gpu in (await api.ok("GET", f"/v2/catalog/gpus?{query}"))["gpus"] if gpu["id"] == "NVIDIA L4"]
    assert (one["availability"], bool(one["dataCenters"])) == ("HIGH", True)
    assert await api.ok("GET", f"/v2/catalog/gpus/NVIDIA%20L4?{query}") == one
    for wrong in ("include=AVAILABILITY", "product=POD", "count=2", f"{query}&cudaVersions=12.8"):
        assert (await api.refusal("GET", f"/v2/catalog/gpus?{wrong}"))[0] == 400
    for wrong in (f"{query}&countryCodes=fr", f"{query}&cloud=MINE", "include=PRICE", f"{query}&count=none"):
        assert (await api.refusal("GET", f"/v2/catalog/gpus?{wrong}"))[0] == 422
    assert (await api.refusal("GET", "/v2/catalog/gpus/none"))[0] == 404
    cpus = (await api.ok("GET", "/v2/catalog/cpus?include=AVAILABILITY&product=SERVERLESS&vcpuCount=4"))["cpus"]
    assert await api.ok("GET", f"/v2/catalog/cpus/{cpus[0]['id']}")
    centers = await api.ok("GET", "/v2/catalog/datacenters?regions=EUROPE&include=GPU_AVAILABILITY,CPU_AVAILABILITY")
    assert {center["region"] for center in centers["dataCenters"]} == {"EUROPE"}
    assert (await api.ok("GET", "/v2/catalog/templates?source=community")) == {"templates": []}


async def test_an_endpoints_settings(api: ManagementClient) -> None:
    endpoint = await api.ok("POST", "/v2/serverless", queue())
    path = f"/v2/serverless/{endpoint['id']}"
    assert endpoint["workers"] == {"min": 0, "max": 3, "idleTimeout": 10}
    assert (endpoint["timeout"], endpoint["flashboot"], endpoint["gpu"]["count"]) == (300_000, "OFF", 1)
    assert endpoint in (await api.ok("GET", "/v2/serverless"))["endpoints"]
    assert await api.ok("PATCH", path, {"name": "e"}) == endpoint
    assert len((await api.ok("GET", f"{path}/releases"))["releases"]) == 1, "a change that changes nothing"
    changed = await api.ok("PATCH", path, {"workers": {"max": 5}, "scaling": BY_COUNT, "env": {"A": "1"}})
    assert changed["workers"] == {"min": 0, "max": 5}, "a queue that scales by count has no idle time-out"
    releases = (await api.ok("GET", f"{path}/releases"))["releases"]
    assert [release["version"] for release in releases] == [2, 1]
    assert {change["field"] for change in releases[0]["diff"]} >= {"env", "workers.max", "scaling.type"}
    assert await api.ok("DELETE", path) is None
    assert (await api.refusal("GET", path))[0] == 404
    assert (await api.http.get(endpoint["requestUrls"]["health"])).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"gpu": None}, 422, "gpu"),
        ({"type": "LB"}, 422, "type"),
        ({"scaling": {"type": "QUEUE_DELAY", "queueDelay": 0.1}}, 422, "queueDelay"),
        ({"scaling": {"type": "REQUEST_COUNT", "requestCount": 0}}, 422, "requestCount"),
        ({"scaling": {"type": "QUEUE_DELAY", "queueDelay": 1, "requestCount": 1}}, 422, "requestCount"),
        ({"type": "LOAD_BALANCER"}, 422, "REQUEST_COUNT"),
        ({"workers": {"idleTimeout": 3601}}, 422, "idleTimeout"),
        ({"workers": {"min": 2, "max": 1}}, 400, "min"),
        ({"workers": {"max": 10**9}}, 400, "quota"),
        ({"env": {"A": "\0"}}, 400, "NUL"),
        ({"env": {"A=B": ""}}, 400, "env"),
        ({"args": "serve '"}, 400, "args"),
        ({"workers": {"idleTimeout": 5}, "scaling": BY_COUNT}, 400, "idleTimeout"),
        ({"gpu": {"pools": []}}, 422, "pools"),
        ({"gpu": {"pools": ["NONE"]}}, 400, "NONE"),
        ({"gpu": {"pools": ["ADA_24"], "excludedTypes": ["NVIDIA L40S"]}}, 400, "L40S"),
        ({"gpu": {"pools": ["ADA_24"], "excludedTypes": ["NVIDIA GeForce RTX 4090"]}}, 400, "left"),
        ({"gpu": {**GPU, "allowedCudaVersions": ["12.8"], "minCudaVersion": "12.0"}}, 400, "minCudaVersion"),
        ({"cpu": [{"id": "cpu3c", "vcpuCount": 2}]}, 400, "exactly one"),
        ({"dataCenterIds": ["XX-1"]}, 400, "XX-1"),
        ({"networkVolumes": ["none"]}, 404, "none"),
        ({"templateId": "none"}, 404, "template"),
        ({"flashboot": "ON"}, 422, "flashboot"),
        ({"models": []}, 422, "models"),
    ],
)
async def test_an_endpoint_that_is_refused(
    api: ManagementClient, changes: dict[str, Any], status: int, word: str
) -> None:
    refused, detail = await api.refusal("POST", "/v2/serverless", queue(**changes))
    assert (refused, word in detail) == (status, True), detail


async def test_an_endpoint_takes_exactly_one_kind_of_compute(api: ManagementClient) -> None:
    body = queue()
    del body["gpu"]
    assert (await api.refusal("POST", "/v2/serverless", body))[0] == 400
    endpoint = await api.ok("POST", "/v2/serverless", {**body, "cpu": [{"id": "cpu3c", "vcpuCount": 4}]})
    assert endpoint["cpu"] == [{"id": "cpu3c", "vcpuCount": 4, "memory": 8}]
    assert (await api.refusal("PATCH", f"/v2/serverless/{endpoint['id']}", {"gpu": GPU}))[0] == 400
    for count in (3, 64):
        cpu = [{"id": "cpu3c", "vcpuCount": count}]
        assert (await api.refusal("POST", "/v2/serverless", {**body, "cpu": cpu}))[0] == 400


async def test_an_endpoint_from_a_template(api: ManagementClient) -> None:
    settings = {"name": "t", "image": OURS, "env": {"A": "1", "B": "1"}, "ports": ["8000/http"]}
    cuda = {"allowedCudaVersions": ["12.8"]}
    template = await api.ok("POST", "/v2/templates", {**settings, **cuda, "serverless": True})
    for_pods = await api.ok("POST", "/v2/templates", settings)
    body = queue(templateId=template["id"], env={"B": "2"})
    del body["image"]
    endpoint = await api.ok("POST", "/v2/serverless", body)
    assert (endpoint["image"], endpoint["ports"]) == (OURS, ["8000/http"])
    assert endpoint["env"] == {"A": "1", "B": "2"}
    assert endpoint["gpu"]["allowedCudaVersions"] == ["12.8"]
    assert (await api.refusal("POST", "/v2/serverless", {**body, "templateId": for_pods["id"]}))[0] == 422
    del body["templateId"]
    assert (await api.refusal("POST", "/v2/serverless", body))[0] == 422


async def test_pools_and_what_is_excluded_from_them_are_one_selection(api: ManagementClient) -> None:
    gpu = {"pools": ["ADA_24", "AMPERE_24"], "excludedTypes": [" NVIDIA L4"], "minCudaVersion": "12.4"}
    endpoint = await api.ok("POST", "/v2/serverless", queue(gpu=gpu))
    path = f"/v2/serverless/{endpoint['id']}"
    assert endpoint["gpu"]["excludedTypes"] == ["NVIDIA L4"]
    assert (await api.ok("PATCH", path, {"gpu": {"count": 2}}))["gpu"] == {**endpoint["gpu"], "count": 2}
    assert (await api.refusal("PATCH", path, {"gpu": {"excludedTypes": ["NVIDIA L4"]}}))[0] == 422
    changed = (await api.ok("PATCH", path, {"gpu": {"pools": ["ADA_24", "AMPERE_24"], "minCudaVersion": ""}}))["gpu"]
    assert changed == {"pools": ["ADA_24", "AMPERE_24"], "count": 2, "allowedCudaVersions": [], "minCudaVersion": None}


async def test_faults_strike_the_api(api: ManagementClient, platform: RunningPlatform) -> None:
    faults = platform.account.faults
    try:
        faults.update({"api_429": 1})
        response = await api.send("GET", "/v2/templates", refused=True)
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        faults.update({"api_429": 0, "api_500": 1})
        assert (await api.refusal("POST", "/v2/templates", {"name": "unmade", "image": OURS}))[0] == 500
        faults.update({"api_500": 0, "api_lose_answers": 1})
        assert (await api.refusal("POST", "/v2/templates", {"name": "made", "image": OURS}))[0] == 502
    finally:
        faults.update({"api_429": 0, "api_500": 0, "api_lose_answers": 0})
    names = [template["name"] for template in (await api.ok("GET", "/v2/templates"))["templates"]]
    assert "made" in names
    assert "unmade" not in names
