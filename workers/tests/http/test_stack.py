"""The stack of layers: which there are, in which order, and what those that are off cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engineroom import plugins
from engineroom.settings import Environment, Layer, NameCheck, WorkerSettings
from engineroom_workers.http.options import Options
from engineroom_workers.http.stack import LAYERS, Stack

ALWAYS = ["RequestContextMiddleware", "OwnRoutesMiddleware", "BodyMiddleware"]
OPTIONAL = {
    "MetricsMiddleware": {"METRICS": "1"},
    "AccessLogMiddleware": {"ACCESS_LOG": "1"},
    "TracingMiddleware": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    "SecurityHeadersMiddleware": {"SECURITY_HEADERS": "1"},
    "CrossOriginMiddleware": {"CORS_ORIGINS": "https://app.example"},
    "APIKeyMiddleware": {"API_KEYS": "sk-a"},
    "KeptResponsesMiddleware": {"REDIS_URL": "redis://127.0.0.1:1"},
    "RateLimitMiddleware": {"REQUESTS_PER_MINUTE": "1"},
    "CacheMiddleware": {"CACHE_TTL": "1"},
    "ConcurrencyMiddleware": {"MAX_CONCURRENT_REQUESTS": "1"},
    "CircuitBreakerMiddleware": {"BREAKER_FAILURES": "1"},
}
BRINGS = {"APIKeyMiddleware": {"KeptResponsesMiddleware"}}
"""Layers that need another one: each key has responses of its own."""


def wanted(settings: dict[str, str]) -> list[str]:
    env = Environment([Layer("test", {"METRICS": "false", **settings}, owned=False)])
    options = Options.load(WorkerSettings.load(env), env, NameCheck((), (), ()))
    return [layer.__name__ for layer in LAYERS if layer.wanted(options)]


def test_a_door_with_everything_off_has_only_what_it_needs() -> None:
    assert wanted({}) == ALWAYS


@pytest.mark.parametrize("layer", OPTIONAL)
def test_a_layer_is_there_where_its_setting_asks_for_it(layer: str) -> None:
    assert set(wanted(OPTIONAL[layer])) - set(ALWAYS) == {layer} | BRINGS.get(layer, set())


def test_the_stack_is_in_the_order_of_the_list() -> None:
    everything = {name: value for settings in OPTIONAL.values() for name, value in settings.items()}
    env = Environment([Layer("test", {**everything, "ENGINE": "echo"}, owned=False)])
    setup = plugins.set_up(env, Options.load)
    app = Stack(setup).app
    layers = []
    while app is not setup.engine.app:
        layers.append(type(app))
        app = app.app
    assert layers == list(LAYERS)


def test_what_is_off_loads_no_library() -> None:
    code = "import sys, engineroom_workers.http.stack; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"limits", "redis", "opentelemetry", "prometheus_client", "yaml"}
