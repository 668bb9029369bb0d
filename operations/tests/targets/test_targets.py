"""What people type, and the target and the key that come of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engineroom.settings import Environment
from engineroom_operations.targets.address import TargetAddress, is_address, parse
from engineroom_operations.targets.local import local_server
from engineroom_operations.targets.resolve import ModelToServe, resolve
from engineroom_operations.targets.target import with_key

QUEUE = TargetAddress("queue", "https://api.runpod.ai/v2/abc", "abc", "abc")
KEYS = {"RUNPOD_API_KEY": "rpa", "OPENAI_API_KEY": "oai", "API_KEYS": "me:ours,you:other"}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://host:8000", TargetAddress("server", "http://host:8000", "host:8000")),
        ("http://host:8000/v1/", TargetAddress("server", "http://host:8000", "host:8000")),
        ("http://host/v1/chat/completions", TargetAddress("server", "http://host", "host")),
        ("https://host/api/v1", TargetAddress("server", "https://host/api", "host/api")),
        ("http://host:8000/metrics", TargetAddress("server", "http://host:8000", "host:8000")),
        ("http://me:secret@host:8000", TargetAddress("server", "http://host:8000", "host:8000")),
        (":8000", TargetAddress("server", "http://127.0.0.1:8000", "127.0.0.1:8000")),
        ("localhost:8000/v1", TargetAddress("server", "http://localhost:8000", "localhost:8000")),
        ("[::1]:8000", TargetAddress("server", "http://[::1]:8000", "[::1]:8000")),
        ("https://api.runpod.ai/v2/abc", QUEUE),
        (
            "https://api.runpod.ai/v2/abc/openai/v1",
            QUEUE,
        ),
        ("https://api.runpod.ai/v2/abc/runsync", QUEUE),
        (
            "https://api.runpod.ai/v2/abc/status/1-e1",
            QUEUE,
        ),
        (
            "http://127.0.0.1:8088/v2/emulated",
            TargetAddress("queue", "http://127.0.0.1:8088/v2/emulated", "emulated", "emulated"),
        ),
        ("https://abc.api.runpod.ai/v1", TargetAddress("load-balancer", "https://abc.api.runpod.ai", "abc", "abc")),
        (
            "https://abc1-8000.proxy.runpod.net",
            TargetAddress("pod", "https://abc1-8000.proxy.runpod.net", "abc1", "abc1"),
        ),
    ],
)
def test_an_address_as_people_copy_it(text: str, address: TargetAddress) -> None:
    assert is_address(text)
    assert parse(text) == address


@pytest.mark.parametrize("text", ["http://", "http:///v1", "http://host:99999"])
def test_half_an_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|port"):
        parse(text)


@pytest.mark.parametrize("text", ["Qwen/Qwen3-8B", "org/name:Q8_0", "model.gguf", "hf.co/org/name", "qwen"])
def test_a_model_is_no_address(text: str) -> None:
    assert not is_address(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("https://api.runpod.ai/v2/abc", "rpa"),
        ("https://abc.api.runpod.ai", "rpa"),
        ("http://127.0.0.1:8088/v2/emulated", "rpa"),
        ("https://elsewhere.example/v2/abc", ""),
        ("http://api.runpod.ai/v2/abc", ""),
        ("https://abc1-8000.proxy.runpod.net", "oai"),
        ("http://localhost:8000", "ours"),
        ("http://10.0.0.5:8000", "oai"),
    ],
)
def test_each_key_goes_where_it_belongs(text: str, key: str) -> None:
    target = with_key(parse(text), KEYS)
    assert target.key == key
    assert "rpa" not in repr(target)


def test_the_key_that_is_given_counts() -> None:
    assert with_key(parse("https://api.runpod.ai/v2/abc"), KEYS, "given").key == "given"


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"HOST": "0.0.0.0", "PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"HOST": "::"}, "http://[::1]:8000"),
        ({"UVICORN_SSL_CERTFILE": "x.pem"}, "https://127.0.0.1:8000"),
    ],
)
def test_the_server_of_this_machine(settings: dict[str, str], url: str) -> None:
    assert local_server(settings).address.url == url


def test_a_models_address_is_a_model(tmp_path: Path) -> None:
    env = Environment.of({})
    for text in ("https://huggingface.co/Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", str(tmp_path)):
        assert asyncio.run(resolve(text, env)) == ModelToServe(text)
