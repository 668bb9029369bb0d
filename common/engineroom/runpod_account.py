"""A RunPod account: how to reach its management API, and the address of what is deployed there, by name.

Whoever deploys and whoever passes requests on to a deployment both need this; the rest of the management API is
`engineroom_operations.runpod_api`. The fields are those of RunPod's REST API v2 (`GET /v2/serverless`, `GET /v2/pods`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, SecretStr, field_validator

from .errors import EngineroomError, Problem, SettingsError
from .settings.base import Settings

if TYPE_CHECKING:
    import aiohttp

DeploymentKind: TypeAlias = Literal["pod", "queue", "load-balancer"]

HTTP_PORT = 8000
"""The port of the worker's HTTP door in a pod and behind a load balancer."""
_TIMEOUT_S = 20


class DeploymentLookupError(EngineroomError):
    """A deployment's address could not be learnt. The text says why.

    Attributes:
        lasting: whether the next attempt can hardly end otherwise: the key is refused, or there is no such deployment.
    """

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


class RunPodAccount(Settings):
    """How to reach the account's management API."""

    title: ClassVar[str] = "RunPod account"

    runpod_api_key: SecretStr | None = Field(
        None, description="The account's API key, for the management API and for serverless endpoints."
    )
    runpod_api_url: str = Field(
        "https://api.runpod.io", description="Where the management API is; `engineroom emulate` prints its own."
    )
    runpod_proxy_url: str = Field(
        "https://{id}-{port}.proxy.runpod.net", description="The URL of a port of a pod, with `{id}` and `{port}`."
    )

    @field_validator("runpod_api_url", "runpod_proxy_url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise ValueError("must be an http:// or https:// URL without a user")
        return url.rstrip("/").removesuffix("/v2")

    @field_validator("runpod_proxy_url")
    @classmethod
    def _names_the_pod(cls, url: str) -> str:
        if "{id}" not in url:
            raise ValueError("must have {id} where the pod's id belongs")
        return url

    @property
    def headers(self) -> dict[str, str]:
        """What every request to the management API and to a serverless endpoint carries.

        Raises:
            SettingsError: there is no key.
        """
        key = self.runpod_api_key.get_secret_value().strip() if self.runpod_api_key else ""
        if not key:
            message = "is not set; RunPod's console makes one under Settings, API keys (or use `engineroom emulate`)"
            raise SettingsError([Problem("RUNPOD_API_KEY", message)])
        return {"Authorization": f"Bearer {key}"}

    def pod_url(self, pod_id: str, port: int = HTTP_PORT) -> str:
        """Where a port of a pod is reached: `https://{id}-{port}.proxy.runpod.net`."""
        return self.runpod_proxy_url.replace("{id}", pod_id).replace("{port}", str(port))


class DeploymentAddress(NamedTuple):
    """Where a deployment is reached.

    url: an OpenAI client's `base_url`.
    models: the names by which it serves its model, as far as its environment says.
    own_key: the key that it asks for itself, where it is a pod with one; RunPod checks its own key before serverless
        workers.
    """

    name: str
    kind: DeploymentKind
    id: str
    url: str
    models: tuple[str, ...] = ()
    own_key: str = ""


def queue_url(request_urls: Mapping[str, str]) -> str:
    """The OpenAI base URL of a queue endpoint: `https://api.runpod.ai/v2/{id}/openai/v1`."""
    return request_urls["run"].removesuffix("/run") + "/openai/v1"


def balancer_url(request_urls: Mapping[str, str]) -> str:
    """The OpenAI base URL of a load-balancing endpoint: `https://{id}.api.runpod.ai/v1`."""
    return request_urls["base"].rstrip("/") + "/v1"


def plain_name(name: str) -> str:
    """A deployment's name as the user gave it: RunPod has been seen to add ` -fb` where FlashBoot is on."""
    return name.removesuffix(" -fb")


async def deployment_addresses(
    account: RunPodAccount, session: aiohttp.ClientSession, names: Sequence[str]
) -> dict[str, DeploymentAddress | DeploymentLookupError]:
    """The addresses of several deployments, from two requests to the management API.

    Returns:
        For each name its address, or why it has none.

    Raises:
        DeploymentLookupError: RunPod could not be asked.
        SettingsError: there is no key.
    """
    pods = await _listed(account, session, "pods", _Pods)
    endpoints = await _listed(account, session, "serverless", _Endpoints)
    running = [pod for pod in pods.pods if pod.status != "TERMINATED"]
    addresses = [_address_of_pod(account, pod) for pod in running]
    addresses += [_address_of_endpoint(endpoint) for endpoint in endpoints.endpoints]
    return {name: _only_one(name, addresses) for name in names}


def _only_one(name: str, addresses: Sequence[DeploymentAddress]) -> DeploymentAddress | DeploymentLookupError:
    matching = [address for address in addresses if name in (address.name, address.id)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        several = " and ".join(f"{address.kind} {address.id}" for address in matching)
        return DeploymentLookupError(
            f"{name} is the name of several deployments ({several}): give the id", lasting=True
        )
    known = ", ".join(sorted({address.name for address in addresses})) or "none"
    return DeploymentLookupError(
        f"there is no deployment {name} in the RunPod account (there are: {known})", lasting=True
    )


class _Pod(msgspec.Struct):
    id: str
    name: str
    status: str = ""
    env: dict[str, str] = {}


class _Pods(msgspec.Struct):
    pods: list[_Pod]


class _Endpoint(msgspec.Struct, rename="camel"):
    id: str
    name: str
    request_urls: dict[str, str]
    type: str = "QUEUE"
    env: dict[str, str] = {}


class _Endpoints(msgspec.Struct):
    endpoints: list[_Endpoint]


_Listed = TypeVar("_Listed", _Pods, _Endpoints)


async def _listed(account: RunPodAccount, session: aiohttp.ClientSession, path: str, form: type[_Listed]) -> _Listed:
    import aiohttp

    url = f"{account.runpod_api_url}/v2/{path}"
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with session.get(url, headers=account.headers, timeout=timeout, allow_redirects=False) as response:
            body = await response.read()
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise DeploymentLookupError(f"{url} cannot be reached: {error or type(error).__name__}") from None
    if response.status in (401, 403):
        raise DeploymentLookupError(f"RunPod refuses RUNPOD_API_KEY (HTTP {response.status})", lasting=True)
    if response.status != 200:
        raise DeploymentLookupError(f"{url} answered with HTTP {response.status}")
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = f"{url} answered with something else than RunPod's management API: check RUNPOD_API_URL"
        raise DeploymentLookupError(message, lasting=True) from None


def _address_of_pod(account: RunPodAccount, pod: _Pod) -> DeploymentAddress:
    # The keys as the HTTP door reads them: `key` or `name: key`, separated by commas.
    first = pod.env.get("API_KEYS", "").partition(",")[0].strip()
    name, colon, secret = first.partition(":")
    own_key = secret if colon else name
    url = account.pod_url(pod.id, port_of(pod.env)) + "/v1"
    return DeploymentAddress(pod.name, "pod", pod.id, url, served_names(pod.env), own_key)


def _address_of_endpoint(endpoint: _Endpoint) -> DeploymentAddress:
    kind: DeploymentKind = "load-balancer" if endpoint.type == "LOAD_BALANCER" else "queue"
    url = balancer_url(endpoint.request_urls) if kind == "load-balancer" else queue_url(endpoint.request_urls)
    return DeploymentAddress(plain_name(endpoint.name), kind, endpoint.id, url, served_names(endpoint.env))


def port_of(env: Mapping[str, str]) -> int:
    """The port on which the HTTP door of a container with this environment listens."""
    port = env.get("PORT", "")
    return int(port) if port.isdecimal() else HTTP_PORT


def served_names(env: Mapping[str, str]) -> tuple[str, ...]:
    """The names by which a container with this environment serves its model; none where it does not say."""
    given = env.get("OPENAI_SERVED_MODEL_NAME_OVERRIDE") or env.get("SERVED_MODEL_NAME") or env.get("MODEL_NAME") or ""
    return tuple(filter(None, map(str.strip, given.split(","))))
