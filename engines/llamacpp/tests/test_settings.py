"""What a user may write, and what is said of a mistake; nothing is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llamacpp_made import make

from engineroom.engine import Route
from engineroom.errors import SettingsError
from engineroom_llamacpp import flags
from engineroom_llamacpp.child import SUPPORTED
from engineroom_llamacpp.models import find


@pytest.mark.parametrize(
    ("settings", "variable", "said"),
    [
        ({"CTX_SIZE": "big"}, "CTX_SIZE", "whole number"),
        ({"CACHE_TYPE_K": "q9"}, "CACHE_TYPE_K", "expected one of"),
        ({"MODEL_NAME": "/no/such/file.gguf"}, "MODEL_NAME", "no file or folder"),
        ({"LORA": "/no/such/lora.gguf"}, "LORA", "there is no file"),
        ({"CHAT_TEMPLATE_FILE": "/no/such/chat.jinja"}, "CHAT_TEMPLATE_FILE", "there is no file"),
        ({"CHAT_TEMPLATE_FILE": "/dev"}, "CHAT_TEMPLATE_FILE", "is a folder"),
        ({"LLAMA_SERVER": "/no/such/llama-server"}, "LLAMA_SERVER", "no program"),
        ({"BATCH_SIZE": "0"}, "BATCH_SIZE", "at least 1"),
        ({"PARALLEL": "0"}, "PARALLEL", "at least 1"),
        ({"CTX_SIZE": "-5"}, "CTX_SIZE", "at least 0"),
        ({"POLL": "101"}, "POLL", "at least 0 and at most 100"),
        ({"CACHE_TYPE_V": "q4_0", "FLASH_ATTN": "off"}, "CACHE_TYPE_V", "needs Flash Attention"),
        ({"CHAT_TEMPLATE_KWARGS": "{thinking: true}"}, "CHAT_TEMPLATE_KWARGS", "need double quotes"),
        ({"CHAT_TEMPLATE_KWARGS": "[1]"}, "CHAT_TEMPLATE_KWARGS", "JSON with an object"),
        ({"LOAD_MODE": "mmaped"}, "LOAD_MODE", r"did you mean mmap\?"),
    ],
)
def test_a_mistake_is_named(settings: dict[str, Any], variable: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        make(**settings)
    assert [problem.variable for problem in caught.value.problems] == [variable]


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(SettingsError, match="not a GGUF file"):
        make(MODEL_NAME=str(tmp_path))


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        make(CTX_SIZE="big", PARALLEL="many", MODEL_NAME="/nowhere.gguf", BATCH_SIZE="0", LORA="/no/such/lora.gguf")
    names = {problem.variable for problem in caught.value.problems}
    assert names == {"CTX_SIZE", "PARALLEL", "MODEL_NAME", "BATCH_SIZE", "LORA"}


def test_every_flag_is_described_with_the_default_in_force() -> None:
    described = {setting.name: setting for setting in flags.snapshot().describe()}
    assert not [name for name, setting in described.items() if not setting.help]
    assert described["PARALLEL"].default == "16"
    assert described["BATCH_SIZE"].default == "2048"


@pytest.mark.parametrize("name", ["CTX_SIZE", "LLAMA_ARG_CTX_SIZE", "N_CTX"])
def test_names_from_elsewhere(name: str) -> None:
    assert make(**{"CTX_SIZE": "", name: 1024})._values["ctx_size"] == 1024


def test_a_llama_server_users_environment_works() -> None:
    engine = make(LLAMA_ARG_MODEL="SmolLM2-135M-Instruct", LLAMA_ARG_ALIAS="small")
    assert engine.models == ("small",)


def test_routes_follow_the_settings() -> None:
    assert Route("POST", "/v1/embeddings") not in make().routes
    assert Route("POST", "/v1/embeddings") in make(EMBEDDINGS=True, POOLING="mean").routes
    assert Route("POST", "/v1/rerank") in make(RERANKING=True).routes


def test_a_flag_that_the_library_lacks_names_the_way_out() -> None:
    lacking = sorted({flag.name for flag in flags.snapshot().flags} - SUPPORTED)
    flag = next(f for f in flags.snapshot().flags if f.name in lacking and f.kind == "str")
    with pytest.raises(SettingsError, match="LLAMA_SERVER"):
        make(**{flag.variable: "x"})


def test_a_binary_gets_a_command_line(tmp_path: Path) -> None:
    from engineroom.server import Address

    standin = tmp_path / "llama-server"
    standin.write_text("#!/bin/sh\n")
    standin.chmod(0o755)
    engine = make(LLAMA_SERVER=str(standin), FLASH_ATTN="on", SEED=3)
    command = list(engine.command(Address("/run/engine.sock", None)))
    assert command[0] == str(standin)
    for pair in (["--host", "/run/engine.sock"], ["--ctx-size", "2048"], ["--flash-attn", "on"], ["--seed", "3"]):
        at = command.index(pair[0])
        assert command[at : at + 2] == pair
    assert engine._key not in " ".join(command)


def test_a_repository_is_fetched_later_and_known_by_its_name() -> None:
    model = find("org/name:Q8_0", {"HF_HOME": "/nowhere"})
    assert (model.name, model.path, model.wanted) == ("org/name", None, "Q8_0")
