"""The HTTP door's settings, one model for each concern."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr

from engineroom.settings import CommaList, Settings


class HTTPSettings(Settings):
    """Where the HTTP door listens, and for how long it waits for a client."""

    title: ClassVar[str] = "HTTP door"

    host: str = Field("127.0.0.1", description="The address to listen on; `0.0.0.0` for all, as in a container.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    port_health: int | None = Field(
        None, ge=0, le=65535, description="A second port that answers the same, for load balancers that want one."
    )
    uvicorn_ssl_certfile: Path | None = Field(
        None, description="A certificate chain (PEM); with it the door speaks TLS, on all its ports."
    )
    uvicorn_ssl_keyfile: Path | None = Field(None, description="The certificate's key, where it is in another file.")
    body_timeout: float = Field(
        60,
        gt=0,
        description="Seconds in which a request's headers, and then its body, must have arrived; "
        "else it is refused with a 408.",
    )
    client_timeout: float = Field(
        120,
        ge=0,
        description="Seconds after which a client that takes nothing, or has vanished from the network, is cut off, "
        "which frees its generation; 0 waits for ever.",
    )


class AccessSettings(Settings):
    """Who may use the HTTP door."""

    title: ClassVar[str] = "HTTP door: access"

    api_keys: SecretStr | None = Field(
        None,
        description="Keys that clients must present, separated by commas, each as `name:key` or just `key`. Unset, and "
        "without API_KEYS_FILE, everybody may come.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="A YAML or JSON file of keys by name, read again when it changes. A value is the key, or a mapping "
        "with `key` and limits of its own: `concurrency`, `requests_per_minute`, `tokens_per_minute`, `priority`.",
    )
    metrics_open: bool = Field(False, description="Whether metrics can be read without a key, where keys are in use.")
    cors_origins: CommaList = Field(
        (), description="Origins whose pages may call the API from a browser, separated by commas; `*` for all."
    )
    security_headers: bool = Field(False, description="Whether answers carry headers that make browsers careful.")


class LimitSettings(Settings):
    """How much the HTTP door takes on. Without keys, what is said of a key goes for all clients together."""

    title: ClassVar[str] = "HTTP door: limits"

    max_concurrent_requests: int | None = Field(
        None, ge=1, description="Requests that are with the engine at a time; no limit unless set."
    )
    max_concurrent_requests_per_key: int | None = Field(None, ge=1, description="The same for each key.")
    max_queued_requests: int | None = Field(
        None,
        ge=0,
        description="Requests that may wait for their turn, where MAX_CONCURRENT_REQUESTS is set; one more is refused "
        "with a 503. By default an eighth of that, so that waiting adds little to an answer's time.",
    )
    queue_timeout: float = Field(30, gt=0, description="Seconds a request may wait for its turn before a 503.")
    requests_per_minute: int | None = Field(
        None, ge=1, description="Requests a minute for each key; no limit unless set."
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, description="Tokens a minute for each key, prompt and answer together; no limit unless set."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="A Redis (`redis://host:6379/0`) in which several workers share their limits by the minute, and "
        "their cache where one is in use.",
    )

    @property
    def queue_length(self) -> int:
        """How many may wait."""
        if self.max_queued_requests is not None:
            return self.max_queued_requests
        return max(1, (self.max_concurrent_requests or 0) // 8)


class WatchSettings(Settings):
    """What the HTTP door does about an engine that fails."""

    title: ClassVar[str] = "HTTP door: a failing engine"

    engine_restarts: int = Field(
        0,
        ge=0,
        description="How often an engine that has died is started again, with a growing pause, before the door ends; "
        "an engine that then served for ten minutes has all of them again. 0 leaves it to whoever runs the door.",
    )
    breaker_failures: int = Field(
        0,
        ge=0,
        description="After so many failures of the engine in a row (5xx) requests are refused at once for "
        "BREAKER_REST seconds, then one is let through as a trial; 0 never.",
    )
    breaker_rest: float = Field(10, gt=0, description="Seconds for which requests are refused at once.")


class CacheSettings(Settings):
    """Answers kept for requests that are exactly equal and deterministic."""

    title: ClassVar[str] = "HTTP door: cache"

    cache_ttl: float = Field(
        0,
        ge=0,
        description="Seconds for which the answer to a deterministic request (temperature 0 or a seed, no tools) is "
        "kept for equal ones, whoever asks; 0 keeps none. In memory, or in REDIS_URL where that is set.",
    )
    cache_max_mb: float = Field(64, gt=0, description="Memory for kept answers in MB; the least recently used go.")


class ObserveSettings(Settings):
    """What the HTTP door tells of itself."""

    title: ClassVar[str] = "HTTP door: metrics and logs"

    metrics: bool = Field(True, description="Whether the door measures: /metrics (Prometheus) and /metrics.json.")
    access_log: bool = Field(
        False,
        description="Whether each request is logged: id, route, status, key's name, times, tokens.",
    )
    log_content: bool = Field(
        False, description="Whether ACCESS_LOG also writes what was asked. Prompts are personal data: for debugging."
    )
    page: bool = Field(False, description="Whether `/` shows a page: status, latencies, and a small chat.")
    otel_exporter_otlp_endpoint: str | None = Field(
        None, description="An OpenTelemetry collector (`http://host:4318`) that gets a span for each request."
    )
