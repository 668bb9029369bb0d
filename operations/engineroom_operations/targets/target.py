"""A target: where it is, and the key that it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from .address import TargetAddress

DEFAULT_RUNPOD_API_URL = "https://api.runpod.io"


@dataclass(frozen=True, slots=True)
class RemoteTarget:
    """What answers OpenAI's API.

    name: for people: host and port, or what the endpoint is called at RunPod.
    key: sent as `Authorization: Bearer`; empty for none.
    key_source: where the key comes from, for people; empty without a key.
    """

    address: TargetAddress
    name: str
    key: str = field(default="", repr=False)
    key_source: str = ""

    def with_source(self, key_source: str) -> RemoteTarget:
        """The same, with another name for where its key comes from."""
        return replace(self, key_source=key_source)

    @property
    def openai_url(self) -> str:
        """The base URL of an OpenAI client, which ends in `/v1`."""
        return f"{self.address.url}/openai/v1" if self.address.kind == "queue" else f"{self.address.url}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def verify_tls(self) -> bool:
        """Whether its certificate is checked: on this machine it would be for another name than 127.0.0.1."""
        return not self.address.on_loopback


def with_key(address: TargetAddress, env: Mapping[str, str], given: str = "", name: str = "") -> RemoteTarget:
    """The target at an address, with the key that belongs to it.

    The key that is given counts. RUNPOD_API_KEY goes to RunPod's hosts, to the one that RUNPOD_API_URL names and to
    emulators on this machine; the first of API_KEYS to a server on this machine; OPENAI_API_KEY to any other server, as
    OpenAI's own clients do it. A pod's proxy gets no key of RunPod's, since the pod would see it.

    Args:
        env: the settings in force, `engineroom.settings.Environment`.
        name: what people call it; its host or id by default.
    """
    source = _key_source(address, env)
    key = given or env.get(source, "")
    if source == "API_KEYS" and not given:
        key = first_key(key)
    return RemoteTarget(address, name or address.name, key, ("--api-key" if given else source) if key else "")


def _key_source(address: TargetAddress, env: Mapping[str, str]) -> str:
    """The variable that has a target's key; empty where it is to have none."""
    if address.kind in ("queue", "load-balancer"):
        return "RUNPOD_API_KEY" if _gets_runpod_key(address, env) else ""
    if address.on_loopback and env.get("API_KEYS"):
        return "API_KEYS"
    return "OPENAI_API_KEY"


def first_key(keys: str) -> str:
    """The first of API_KEYS, each of which is `name:key` or only a key."""
    first = keys.split(",")[0].strip()
    return first.partition(":")[2] or first


def _gets_runpod_key(address: TargetAddress, env: Mapping[str, str]) -> bool:
    api = urlsplit(env.get("RUNPOD_API_URL") or DEFAULT_RUNPOD_API_URL).hostname
    ours = address.host.endswith((".runpod.ai", ".runpod.io")) and address.url.startswith("https://")
    return ours or address.on_loopback or address.host == api
