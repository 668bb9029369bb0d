"""What stands between a client and the raw source in `make bench-http`: nginx, others' proxies, and our door.

vLLM's router and LiteLLM's proxy run from `.venv-proxies`, which `tools/proxies_env.py` makes. What is not there
is left out.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from processes import free_port, running, until
from rounds import ChatServer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
THEIRS = ROOT / ".venv-proxies" / "bin"
BIN = Path(sys.executable).parent
KEY = "sk-bench"
HEADERS = {"authorization": f"Bearer {KEY}", "origin": "https://app.example"}
"""What each client sends; only a door with keys asks for it."""
DOOR = {"ENGINE": "source", "PYTHONPATH": str(HERE / "plugin"), "LOG_LEVEL": "WARNING"}
LAYERS: Mapping[str, Mapping[str, str]] = {
    "keys": {"API_KEYS": f"bench:{KEY}", "METRICS_OPEN": "true"},
    "CORS": {"CORS_ORIGINS": "*"},
    "careful headers": {"SECURITY_HEADERS": "true"},
    "turns": {"MAX_CONCURRENT_REQUESTS": "2000", "MAX_CONCURRENT_REQUESTS_PER_KEY": "2000"},
    "requests a minute": {"REQUESTS_PER_MINUTE": "100000000"},
    "tokens a minute": {"TOKENS_PER_MINUTE": "10000000000"},
    "breaker": {"BREAKER_FAILURES": "5"},
    "restarts": {"ENGINE_RESTARTS": "3"},
    "cache": {"CACHE_TTL": "60"},
    "access log": {"ACCESS_LOG": "true", "LOG_LEVEL": "INFO"},
}
"""The settings that switch each layer on beside those that are on by default."""
EVERY_LAYER = {name: value for settings in LAYERS.values() for name, value in settings.items()}
WITHOUT_METRICS = {"METRICS": "false"}


class MeasuredProxy(NamedTuple):
    """Where a client's streams go, and the process whose CPU is counted; None for the source itself."""

    server: ChatServer
    pid: int | None


@contextmanager
def source() -> Iterator[int]:
    """The raw source, on a port."""
    port = free_port()
    with running([sys.executable, str(HERE / "source.py"), str(port)]):
        until(f"http://127.0.0.1:{port}/health")
        yield port


@contextmanager
def door(
    settings: Mapping[str, str], headers: Mapping[str, str] | None = None, environment: Path = BIN
) -> Iterator[MeasuredProxy]:
    """Our door before a source of its own, with these settings beside the defaults.

    headers: what clients send beside the usual.
    environment: the folder of the `engineroom` that is started.
    """
    port = free_port()
    with running([str(environment / "engineroom"), "serve"], {**DOOR, "PORT": str(port), **settings}) as child:
        until(f"http://127.0.0.1:{port}/ping", child=child)
        yield MeasuredProxy(ChatServer(port, {**HEADERS, **(headers or {})}), child.pid)


@contextmanager
def script(name: str, source_port: int, environment: Path = BIN) -> Iterator[MeasuredProxy]:
    """A proxy in Python that is one of the files beside this one.

    environment: the folder of the Python that runs it.
    """
    port = free_port()
    with running([str(environment / "python"), str(HERE / name), str(port), str(source_port)]) as child:
        until(f"http://127.0.0.1:{port}/health", child=child)
        yield MeasuredProxy(ChatServer(port, HEADERS), child.pid)


@contextmanager
def nginx(source_port: int, headers: Mapping[str, str] = HEADERS) -> Iterator[MeasuredProxy | None]:
    """nginx with one worker, whose CPU counts; None where it is not installed.

    headers: what clients send.
    """
    binary = shutil.which("nginx")
    if binary is None:
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        text = (HERE / "nginx.conf").read_text().replace("PORT", str(port)).replace("SOURCE", str(source_port))
        (Path(folder) / "nginx.conf").write_text(text)
        with running([binary, "-p", folder, "-c", "nginx.conf"]) as master:
            until(f"http://127.0.0.1:{port}/health", child=master)
            worker = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()[0]
            yield MeasuredProxy(ChatServer(port, headers), int(worker))


@contextmanager
def router(
    source_port: int, headers: Mapping[str, str] = HEADERS, threads: int | None = None
) -> Iterator[MeasuredProxy | None]:
    """vLLM's router, which is written in Rust, with one worker behind it; None where it is not installed.

    headers: what clients send.
    threads: those that serve requests; None for as many as there are cores, its default.
    """
    command = THEIRS / "vllm-router"
    if not command.exists():
        yield None
        return
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", f"http://127.0.0.1:{source_port}"]
    arguments += ["--policy", "round_robin", "--prometheus-port", str(free_port()), "--log-level", "error"]
    settings = {} if threads is None else {"TOKIO_WORKER_THREADS": str(threads)}
    with running([str(command), *arguments], settings) as child:
        until(f"http://127.0.0.1:{port}/health", child=child)
        yield MeasuredProxy(ChatServer(port, headers), child.pid)


@contextmanager
def litellm(source_port: int) -> Iterator[MeasuredProxy | None]:
    """LiteLLM's proxy with one worker; None where it is not installed."""
    command = THEIRS / "litellm"
    if not command.exists():
        yield None
        return
    port = free_port()
    parameters = {"model": "openai/source", "api_base": f"http://127.0.0.1:{source_port}/v1", "api_key": "none"}
    config = {"model_list": [{"model_name": "source", "litellm_params": parameters}]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(json.dumps(config))  # Which is YAML, too.
        arguments = ["--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        settings = {
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            # Without keys, as our door is.
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        }
        with running([str(command), *arguments, "--telemetry", "False"], settings) as child:
            until(f"http://127.0.0.1:{port}/health/liveliness", child=child)
            yield MeasuredProxy(ChatServer(port, HEADERS), child.pid)


@contextmanager
def contenders(*names: str) -> Iterator[dict[str, MeasuredProxy]]:
    """Those of the names that are here, all running; without names all of them.

    `door in FOLDER` is the door of another virtual environment, and so on: another Python costs otherwise.
    """
    with ExitStack() as stack:
        port = stack.enter_context(source())
        starts = {
            "direct": None,
            "nginx": nginx,
            "router": router,
            "router, one thread": partial(router, threads=1),
            "LiteLLM": litellm,
            "bytes alone": partial(script, "bytes_alone.py"),
            "bare": partial(script, "bare_proxy.py"),
            "door": {},
            "door, every layer": EVERY_LAYER,
        }
        targets: dict[str, MeasuredProxy] = {}
        for name in names or starts:
            kind, _, folder = name.partition(" in ")
            start = starts[kind]
            if start is None:
                targets[name] = MeasuredProxy(ChatServer(port, HEADERS), None)
                continue
            where = {"environment": Path(folder).absolute() / "bin"} if folder else {}
            proxy = partial(door, start) if isinstance(start, Mapping) else partial(start, port)
            target = stack.enter_context(proxy(**where))
            if target is not None:
                targets[name] = target
        yield targets
