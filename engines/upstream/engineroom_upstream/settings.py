"""The engine's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from engineroom.settings import CommaList, OtherName, Settings, doubted, taken


class UpstreamSettings(Settings):
    """Where the servers are."""

    title: ClassVar[str] = "Upstream engine"
    other_names: ClassVar[Mapping[str, OtherName]] = {
        **taken("UPSTREAM_URLS", ("UPSTREAM", "UPSTREAM_BASE_URL")),
        **doubted(
            "UPSTREAM_URLS",
            "the servers to pass requests on to",
            ("OLLAMA_BASE_URL",),
        ),
        **doubted("UPSTREAM_API_KEY", "the key for these servers", ("UPSTREAM_KEY", "UPSTREAM_TOKEN")),
    }

    upstream_urls: CommaList = Field(
        (),
        description="The servers, each as an OpenAI client's `base_url` (`http://host:8000/v1`), separated by commas.",
    )
    upstream_runpod: CommaList = Field(
        (),
        description="Deployments in a RunPod account, by name or id, separated by commas: pods, queue endpoints and "
        "load-balancing endpoints. RUNPOD_API_KEY finds their addresses, again and again, and opens the endpoints.",
    )
    upstream_api_key: SecretStr | None = Field(
        None,
        description="The key that the servers ask for, or a key for each server, separated by commas. A pod that "
        "UPSTREAM_RUNPOD names gets the first key of its own API_KEYS unless this is set.",
    )
    upstream_check: float = Field(
        5,
        ge=0,
        description="Seconds between two health checks of a server (GET /v1/models). 0 for none, as with URLs of "
        "serverless endpoints, where a check would start a worker; MODEL_NAME has to name the model then. Those that "
        "UPSTREAM_RUNPOD names are never checked.",
    )

    @property
    def keys(self) -> tuple[str, ...]:
        """None, one for all servers, or one for each."""
        given = self.upstream_api_key.get_secret_value() if self.upstream_api_key else ""
        return tuple(filter(None, map(str.strip, given.split(","))))

    @field_validator("upstream_urls")
    @classmethod
    def _are_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                raise ValueError("must be http:// or https:// URLs without a user; a key goes to UPSTREAM_API_KEY")
            if parts.query or parts.fragment:
                raise ValueError("must be URLs that end with a path, without ? or # behind it")
        return urls
