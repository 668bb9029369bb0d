"""Names by which other servers call what can be set at the HTTP door, and what becomes of each."""

from __future__ import annotations

from collections.abc import Mapping

from engineroom.settings import OtherName, doubted, dropped, refused, taken

LISTENING: Mapping[str, OtherName] = {
    **taken("HOST", ("UVICORN_HOST",)),
    **doubted(
        "HOST",
        "the address to listen on",
        (
            "ADDRESS",
            "API_HOST",
            "APP_HOST",
            "BIND",
            "BIND_ADDR",
            "BIND_ADDRESS",
            "BIND_HOST",
            "HTTP_HOST",
            "LISTEN",
            "LISTEN_ADDR",
            "LISTEN_ADDRESS",
            "LISTEN_HOST",
            "SERVER_ADDRESS",
            "SERVER_HOST",
            "SERVER_NAME",
        ),
    ),
    **taken("PORT", ("UVICORN_PORT",)),
    **doubted(
        "PORT",
        "the port to listen on",
        ("API_PORT", "APP_PORT", "BIND_PORT", "HTTP_PORT", "LISTEN_PORT", "SERVER_PORT", "SERVICE_PORT"),
    ),
    **doubted("PORT_HEALTH", "a second port", ("HEALTH_PORT", "HEALTHCHECK_PORT", "HEALTH_CHECK_PORT")),
    **taken("UVICORN_SSL_CERTFILE", ("SSL_CERTFILE", "SSL_CERTFILE_PATH")),
    **taken("UVICORN_SSL_KEYFILE", ("SSL_KEYFILE", "SSL_KEYFILE_PATH")),
    **refused(
        "UVICORN_SSL_CERTFILE",
        "a file in PEM format",
        ("SSL_CERT", "TLS_CERT", "TLS_CERTFILE", "TLS_CERTIFICATE", "TLS_CERT_FILE"),
    ),
    **refused(
        "UVICORN_SSL_KEYFILE",
        "a file in PEM format",
        ("SSL_KEY", "SSL_KEY_FILE", "TLS_KEY", "TLS_KEYFILE", "TLS_KEY_FILE"),
    ),
    **taken("UVICORN_TIMEOUT_KEEP_ALIVE", ("TIMEOUT_KEEP_ALIVE",)),
    **refused(
        "UVICORN_TIMEOUT_KEEP_ALIVE",
        "the seconds that an idle connection is kept",
        ("HTTP_KEEP_ALIVE", "KEEPALIVE_TIMEOUT", "KEEP_ALIVE_TIMEOUT"),
    ),
    **dropped(
        {
            "NUM_WORKERS": "one process serves all requests; remove it",
            "UVICORN_RELOAD": "the door does not reload itself; remove it",
            "UVICORN_ROOT_PATH": "the door serves at the root; let the proxy in front strip the path",
            "UVICORN_WORKERS": "one process serves all requests; remove it",
        }
    ),
}

ACCESS: Mapping[str, OtherName] = {
    **taken("API_KEYS", ("API_KEY", "LITELLM_MASTER_KEY", "LLAMA_API_KEY")),
    **doubted(
        "API_KEYS",
        "without it anyone who reaches the door may use it",
        (
            "ACCESS_KEY",
            "ACCESS_TOKEN",
            "ADMIN_API_KEY",
            "ADMIN_KEY",
            "ADMIN_PASSWORD",
            "ADMIN_TOKEN",
            "API_AUTH_TOKEN",
            "API_PASSWORD",
            "API_SECRET",
            "API_SECRET_KEY",
            "API_TOKEN",
            "API_TOKENS",
            "AUTH_KEY",
            "AUTH_PASSWORD",
            "AUTH_SECRET",
            "AUTH_TOKEN",
            "BASIC_AUTH",
            "BASIC_AUTH_PASSWORD",
            "BEARER_TOKEN",
            "CLIENT_API_KEY",
            "GATEWAY_API_KEY",
            "INFERENCE_API_KEY",
            "JWT_SECRET",
            "KEYS",
            "LITELLM_API_KEY",
            "LITELLM_KEY",
            "LLM_API_KEY",
            "MASTER_API_KEY",
            "MASTER_KEY",
            "MODEL_API_KEY",
            "PASSWORD",
            "PROXY_API_KEY",
            "SECRET",
            "SECRET_KEY",
            "SECRET_TOKEN",
            "SERVER_API_KEY",
            "SERVER_PASSWORD",
            "SERVER_TOKEN",
            "SERVE_API_KEY",
            "SERVICE_API_KEY",
            "TOKEN",
            "WORKER_API_KEY",
        ),
    ),
    **refused("API_KEYS_FILE", "a YAML or JSON file of keys by name", ("API_KEY_FILE", "API_KEYS_PATH", "KEYS_FILE")),
    **taken(
        "CORS_ORIGINS",
        (
            "ALLOWED_ORIGINS",
            "ALLOW_ORIGINS",
            "CORS_ALLOWED_ORIGINS",
            "CORS_ALLOW_ORIGIN",
            "CORS_ALLOW_ORIGINS",
            "CORS_ORIGIN",
        ),
    ),
    **refused("CORS_ORIGINS", "the origins; `*` for all", ("CORS", "ENABLE_CORS", "USE_CORS")),
}

LIMITS: Mapping[str, OtherName] = {
    **refused(
        "REQUESTS_PER_MINUTE",
        "a number for each key",
        (
            "MAX_REQUESTS_PER_MINUTE",
            "MAX_RPM",
            "RATE_LIMIT",
            "RATE_LIMITS",
            "RATE_LIMIT_PER_MINUTE",
            "RATE_LIMIT_REQUESTS",
            "RATE_LIMIT_RPM",
            "REQUESTS_PER_MIN",
            "REQUESTS_PER_SECOND",
            "REQUEST_RATE_LIMIT",
            "RPM",
            "RPM_LIMIT",
        ),
    ),
    **refused(
        "TOKENS_PER_MINUTE",
        "a number for each key",
        (
            "MAX_TOKENS_PER_MINUTE",
            "MAX_TPM",
            "RATE_LIMIT_TOKENS",
            "TOKENS_PER_MIN",
            "TOKEN_RATE_LIMIT",
            "TPM",
            "TPM_LIMIT",
        ),
    ),
    **refused(
        "MAX_CONCURRENT_REQUESTS",
        "requests that the engine works on at the same time",
        (
            "CONCURRENCY_LIMIT",
            "GLOBAL_MAX_PARALLEL_REQUESTS",
            "LIMIT_CONCURRENCY",
            "MAX_CONCURRENT",
            "MAX_PARALLEL_REQUESTS",
            "UVICORN_LIMIT_CONCURRENCY",
        ),
    ),
    **refused(
        "MAX_QUEUED_REQUESTS",
        "requests that may wait, where MAX_CONCURRENT_REQUESTS is set",
        ("MAX_PENDING_REQUESTS", "MAX_QUEUE", "MAX_QUEUE_LENGTH", "MAX_QUEUE_SIZE", "QUEUE_SIZE"),
    ),
    **doubted("REDIS_URL", "redis://host:port/0", ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_URI")),
}

CACHE: Mapping[str, OtherName] = {
    **doubted(
        "CACHE_TTL",
        "the seconds for which an answer is kept",
        ("CACHE_ENABLED", "CACHE_EXPIRY", "CACHE_SECONDS", "CACHE_TIMEOUT", "ENABLE_CACHE"),
    ),
    **doubted("CACHE_MAX_MB", "a number of MB", ("CACHE_MAX_SIZE", "CACHE_SIZE", "CACHE_SIZE_MB")),
}

OBSERVATION: Mapping[str, OtherName] = {
    **taken("METRICS", ("ENABLE_METRICS", "METRICS_ENABLED")),
    **doubted(
        "METRICS",
        "they are served at /metrics, on the door's own port",
        ("METRICS_PORT", "PROMETHEUS_METRICS_PORT", "PROMETHEUS_PORT"),
    ),
    **taken("ACCESS_LOG", ("UVICORN_ACCESS_LOG",)),
    **taken("PAGE", ("ENABLE_PAGE", "ENABLE_UI", "ENABLE_WEBUI", "WEBUI")),
    **doubted("PAGE", "the page has a small chat and the door's figures", ("DASHBOARD", "ENABLE_DASHBOARD")),
    **refused(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "a collector that takes OTLP over HTTP",
        ("OTEL_ENDPOINT", "OTLP_ENDPOINT", "OTLP_TRACES_ENDPOINT"),
    ),
    **doubted(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "a collector that takes OTLP over HTTP",
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",),
    ),
}
