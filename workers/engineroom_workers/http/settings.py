"""The HTTP door's settings, one model for each concern."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from engineroom.errors import Problem, Problems, SettingsError
from engineroom.settings import CommaList, Environment, FilePath, NameCheck, OtherName, Settings

from . import other_names
from .keys import APIKey, read_keys
from .tls import TLSFiles, load_context


def is_loopback(host: str) -> bool:
    """Whether a name or an address, IPv6 with or without brackets, means this machine and no other can reach it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def url_at(host: str, port: int, scheme: str = "http") -> str:
    """Where clients on this machine reach what listens on an address, which may be that for all."""
    if host == "0.0.0.0":
        host = "127.0.0.1"
    elif host == "::":
        host = "[::1]"
    elif ":" in host:
        host = f"[{host}]"
    return f"{scheme}://{host}:{port}"


def address_problem(host: str, error: OSError) -> Problem | None:
    """That HOST is at fault, where the system would not listen because of it; None where the port is."""
    # A name that is not known comes as a negative number of getaddrinfo's, also where Python raises a bare OSError.
    number = error.errno or 0
    if number >= 0 and number not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return None
    # Python adds the address to the system's words; ours have it already.
    reason = (error.strerror or str(error)).partition(" (while attempting")[0]
    remedy = "127.0.0.1 is for programs on this machine, 0.0.0.0 for others, too"
    return Problem("HOST", f"{host} is not an address of this machine ({reason}); {remedy}")


class HTTPSettings(Settings):
    """Where the HTTP door listens, and for how long it waits for a client."""

    title: ClassVar[str] = "HTTP door"
    other_names: ClassVar[Mapping[str, OtherName]] = other_names.LISTENING

    host: str = Field("127.0.0.1", description="The address to listen on; `0.0.0.0` for all, as in a container.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    port_health: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="A second port that serves the same, for load balancers that need one. Its connections do not "
        "count towards REQUEST_MEMORY_MB: whatever fills the other port, health checks are answered.",
    )
    uvicorn_ssl_certfile: FilePath | None = Field(
        None,
        description="A certificate chain (PEM). With it the door uses TLS on all its ports. It is read again when it "
        "changes: new connections get the new certificate.",
    )
    uvicorn_ssl_keyfile: FilePath | None = Field(None, description="The certificate's key, if it is in another file.")
    uvicorn_ssl_keyfile_password: SecretStr | None = Field(
        None, description="What the key is encrypted with, if it is."
    )
    body_timeout: float = Field(
        60,
        gt=0,
        description="Seconds within which a request's headers, and then its body, must arrive; otherwise it is refused "
        "with a 408.",
    )
    uvicorn_timeout_keep_alive: int = Field(
        75,
        ge=1,
        description="Seconds for which an idle connection is kept for its client's next request. It has to be longer "
        "than a load balancer in front keeps its own (mostly 60), or its clients get a 502 now and then.",
    )
    client_timeout: float = Field(
        120,
        ge=0,
        description="Seconds after which a client that reads nothing, or has vanished from the network, is "
        "disconnected, which ends its generation. 0 waits for ever.",
    )

    lame_duck: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="Seconds after SIGTERM for which requests are still served while `/readyz` answers 503 already: "
        "balancers need so long to send them elsewhere. Then DRAIN_TIMEOUT begins. A second signal skips it. Default: "
        "15 in a pod of Kubernetes, else 0.",
    )
    stream_heartbeat: float = Field(
        15,
        ge=0,
        description="Seconds of silence after which a stream's client is sent its headers and a comment, and another "
        "one after as long again: proxies and clients would take a long prefill, or a place in the queue, for a dead "
        "server. An error after that is an event of the stream instead of a status. 0 switches this off.",
    )
    door_processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that speak HTTP with clients. Above 1 they share the port, and pass each request to one "
        "more, which has the engine, the limits, the queue, the cache and the metrics; the events of an engine that is "
        "a server go to clients past it. More than one helps where one processor is not enough for all streams.",
    )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the door."""
        return is_loopback(self.host)

    @property
    def tls(self) -> TLSFiles | None:
        """Certificate and key; None without TLS."""
        certificate = self.uvicorn_ssl_certfile
        if certificate is None:
            return None
        password = self.uvicorn_ssl_keyfile_password
        return TLSFiles(certificate, self.uvicorn_ssl_keyfile, password.get_secret_value() if password else "")

    def check(self) -> None:
        """Raises SettingsError where HOST is not an address of this machine, or no client could connect with the
        certificate and the key.
        """
        problems = Problems()
        problems.collect(self._check_host, None)
        problems.collect(self._check_tls, None)
        problems.check()

    def _check_host(self) -> None:
        try:
            # Any free port: whether PORT is free is for the start to say, since it may be ours that is running.
            family = socket.getaddrinfo(self.host, 0, type=socket.SOCK_STREAM)[0][0]
            socket.create_server((self.host, 0), family=family).close()
        except OSError as error:
            problem = address_problem(self.host, error)
            if problem is not None:
                raise SettingsError([problem]) from error

    def _check_tls(self) -> None:
        if self.tls is not None:
            load_context(self.tls)
            return
        problems = Problems()
        without = "needs UVICORN_SSL_CERTFILE, without which there is no TLS; set both, or neither"
        if self.uvicorn_ssl_keyfile is not None:
            problems.add("UVICORN_SSL_KEYFILE", without)
        if self.uvicorn_ssl_keyfile_password is not None:
            problems.add("UVICORN_SSL_KEYFILE_PASSWORD", without)
        problems.check()


class AccessSettings(Settings):
    """Who may use the HTTP door."""

    title: ClassVar[str] = "HTTP door: access"
    other_names: ClassVar[Mapping[str, OtherName]] = other_names.ACCESS

    api_keys: SecretStr | None = Field(
        None,
        description="Keys that clients must present, separated by commas, each as `name:key` or just `key`. Without "
        "this and API_KEYS_FILE anyone may use the API.",
    )
    api_keys_file: FilePath | None = Field(
        None,
        description="A YAML or JSON file of keys by name, read again when it changes. A value is the key, or a mapping "
        "with `key` and limits of its own: `concurrency`, `requests_per_minute`, `tokens_per_minute`, `priority`.",
    )
    metrics_open: bool = Field(False, description="Whether metrics can be read without a key although keys are in use.")
    cors_origins: CommaList = Field(
        (), description="Origins whose pages may call the API from a browser (CORS), separated by commas; `*` for all."
    )
    security_headers: bool = Field(False, description="Whether responses carry security headers for browsers.")

    @property
    def keys_in_use(self) -> bool:
        """Whether clients must present a key."""
        return self.api_keys is not None or self.api_keys_file is not None

    def read_keys(self) -> dict[str, APIKey]:
        """The keys, by what clients present. Raises SettingsError as `keys.read_keys`."""
        return read_keys(self.api_keys.get_secret_value() if self.api_keys else None, self.api_keys_file)

    def check(self) -> None:
        """Raises SettingsError where the keys are wrong."""
        if self.keys_in_use:
            self.read_keys()

    def check_names(self, env: Environment, names: NameCheck) -> Sequence[Problem]:
        """A variable that looks like a key may not leave a door open to a network that its owner believes to be
        locked.
        """
        http = HTTPSettings.load_valid(env, Problems())
        if self.keys_in_use or http.on_loopback:
            return ()
        return [
            Problem(
                notice.variable,
                f"locks nothing here, and HOST={http.host} would be open to all: set API_KEYS, and unset "
                f"{notice.variable} where it is another program's",
                notice.source,
            )
            for notice in names.warnings
            if notice.ours in ("API_KEYS", "API_KEYS_FILE")
        ]


class LimitSettings(Settings):
    """How much the HTTP door takes on. Without keys, what is said of a key goes for all clients together."""

    title: ClassVar[str] = "HTTP door: limits"
    other_names: ClassVar[Mapping[str, OtherName]] = other_names.LIMITS

    max_concurrent_requests: int | None = Field(
        None, ge=1, description="Requests that the engine works on at the same time. Default: no limit."
    )
    max_concurrent_requests_per_key: int | None = Field(
        None,
        ge=1,
        description="Requests of one key that the engine works on at the same time. Default: no limit.",
    )
    max_queued_requests: int | None = Field(
        None,
        ge=0,
        description="Requests that may wait for their turn if MAX_CONCURRENT_REQUESTS is set; one more is refused with "
        "a 503. Default: an eighth of that number, so that waiting adds little to the time of an answer.",
    )
    queue_timeout: float = Field(
        30, gt=0, description="Seconds that a request may wait for its turn. After that it is refused with a 503."
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="Requests per minute for each key. Default: no limit."
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, description="Tokens per minute for each key, prompts and answers together. Default: no limit."
    )
    request_memory_mb: float | None = Field(
        None,
        gt=0,
        description="Memory in MB for the requests of all clients that are on their way or wait: connections, headers, "
        "and bodies, which count twice, as sent and decoded. What finds no room is refused with a 503. If "
        "MAX_CONCURRENT_REQUESTS is set, requests that run do not count. Default: 160, or five times MAX_REQUEST_MB "
        "where that is more.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="A Redis server (`redis://host:6379/0`) in which several workers share their limits per minute, "
        "the responses that clients may come back to, and their cache if it is on.",
    )

    @field_validator("redis_url")
    @classmethod
    def _is_a_url_of_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("expected a URL such as redis://host:6379/0, or rediss:// for TLS")
        return value

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
        description="How many times an engine that has died is started again, after growing pauses, before the door "
        "exits. After ten minutes without a failure the count starts again. With 0 the door exits at once, and "
        "whatever runs it has to restart it.",
    )
    breaker_failures: int = Field(
        0,
        ge=0,
        description="After this many failures of the engine in a row (5xx) requests are refused at once for "
        "BREAKER_REST seconds; then one is let through as a trial. 0 switches this off.",
    )
    breaker_rest: float = Field(
        10, gt=0, description="Seconds for which requests are refused at once, see BREAKER_FAILURES."
    )


class CacheSettings(Settings):
    """Answers kept for requests that are exactly equal and deterministic, and responses that clients come back to."""

    title: ClassVar[str] = "HTTP door: cache and kept responses"
    other_names: ClassVar[Mapping[str, OtherName]] = other_names.CACHE

    cache_ttl: float = Field(
        0,
        ge=0,
        description="Seconds for which the answer to a deterministic request (temperature 0 or a seed, no tools) is "
        "cached and given to equal requests of the same key; 0 switches the cache off. It is in memory, or in "
        "REDIS_URL if that is set.",
    )
    cache_shared: bool = Field(
        False,
        description="Whether all keys share the cache. A client can then find out whether another has asked exactly "
        "the same: by `cache-status`, `only-if-cached`, or how fast the answer is there.",
    )
    cache_max_mb: float = Field(
        64, gt=0, le=1_000_000, description="Memory for cached answers in MB; those least recently used are dropped."
    )
    responses_ttl: int = Field(
        86_400,
        ge=0,
        le=10 * 365 * 86_400,
        description="Seconds after its last use for which a response of `/v1/responses` is kept in REDIS_URL, for "
        "`previous_response_id` and GET. With 0, or without REDIS_URL, each worker keeps its own in memory.",
    )


class ObserveSettings(Settings):
    """What the HTTP door tells of itself."""

    title: ClassVar[str] = "HTTP door: metrics and logs"
    other_names: ClassVar[Mapping[str, OtherName]] = other_names.OBSERVATION

    metrics: bool = Field(
        True, description="Whether metrics are collected and served: /metrics (Prometheus) and /metrics.json."
    )
    access_log: bool = Field(
        False,
        description="Whether each request is logged: its id, route, status, key's name, times and tokens.",
    )
    log_content: bool = Field(
        False,
        description="Whether ACCESS_LOG also logs the request's content. For debugging only: prompts are "
        "personal data.",
    )
    page: bool | None = Field(
        None,
        description="Whether `/` shows a page with a chat, the door's figures and its settings. Default: on where HOST "
        "is loopback, for browsers on this machine; off elsewhere.",
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None, description="An OpenTelemetry collector (`http://host:4318`), which is sent a span for each request."
    )

    @field_validator("log_content")
    @classmethod
    def _is_part_of_the_access_log(cls, wanted: bool, others: ValidationInfo) -> bool:
        if wanted and others.data.get("access_log") is False:
            raise ValueError("needs ACCESS_LOG=true: the content is part of those lines")
        return wanted

    @field_validator("page")
    @classmethod
    def _shows_the_metrics(cls, wanted: bool | None, others: ValidationInfo) -> bool | None:
        if wanted and others.data.get("metrics") is False:
            raise ValueError("needs METRICS=true: the page shows them")
        return wanted
