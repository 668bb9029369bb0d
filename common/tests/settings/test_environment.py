"""The layers of settings: their order, their sources, and what is said of a bad file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engineroom.errors import SettingsError
from engineroom.plugins import check, engine_class, known_names
from engineroom.settings import Environment, taken


def test_baked_arguments_win_over_environment_over_dotenv_over_file(tmp_path: Path) -> None:
    (tmp_path / "baked.json").write_text('{"MODEL_NAME": "baked", "ENFORCE_EAGER": true}')
    (tmp_path / ".env").write_text("MODEL_NAME=dotenv\nA=dotenv\nB=dotenv\n")
    (tmp_path / "file.yaml").write_text("a: file\nb: file\nmax-model-len: 5\n")
    env = Environment.load(
        {
            "MODEL_NAME": "environment",
            "A": "environment",
            "ENGINEROOM_BAKED_ARGS": str(tmp_path / "baked.json"),
            "ENGINEROOM_CONFIG": str(tmp_path / "file.yaml"),
        },
        tmp_path,
    )
    assert [env["MODEL_NAME"], env["A"], env["B"], env["MAX_MODEL_LEN"]] == ["baked", "environment", "dotenv", "5"]
    assert env["ENFORCE_EAGER"] == "true"
    assert env.source("MODEL_NAME").startswith("baked arguments")
    assert env.source("A") == "environment"
    assert env.source("B") == ".env"
    assert env.source("MAX_MODEL_LEN").startswith("config file")
    assert env.source("NOWHERE") == "default"


def test_an_empty_value_counts_as_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("QUANTIZATION=awq\n")
    env = Environment.load({"QUANTIZATION": ""}, tmp_path)
    assert env["QUANTIZATION"] == "awq"


def test_an_alias_does_not_outrank_a_higher_layer() -> None:
    from engineroom.settings import Layer

    env = Environment([Layer("environment", {"MODEL_NAME": "new"}, False), Layer(".env", {"MODEL": "old"}, True)])
    assert env.with_other_names(taken("MODEL_NAME", ["MODEL"]))["MODEL_NAME"] == "new"
    env = Environment([Layer("environment", {"MODEL": "old"}, False), Layer(".env", {"MODEL_NAME": "new"}, True)])
    assert env.with_other_names(taken("MODEL_NAME", ["MODEL"]))["MODEL_NAME"] == "old"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "must hold a mapping"),
        ("a: 1\nb: [", "not valid YAML or JSON in line 2"),
        ("a: 2026-13-45", "not valid YAML"),
        ("a: " + "[" * 5000, "not valid YAML"),
        (" \n", "is empty"),
        (None, "there is no file"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=said) as caught:
        Environment.load({"ENGINEROOM_CONFIG": str(file)}, tmp_path)
    assert caught.value.problems[0].variable == "ENGINEROOM_CONFIG"


def test_a_windows_file_is_read_like_any(tmp_path: Path) -> None:
    """A byte order mark became part of the first name, which was then ignored; UTF-16 was a traceback."""
    text = "ENGINE=echo\r\nPORT=7\r\n"
    (tmp_path / ".env").write_bytes(text.encode("utf-8-sig"))
    config = tmp_path / "config.yaml"
    config.write_bytes("host: localhost\r\n".encode("utf-8-sig"))
    env = Environment.load({"ENGINEROOM_CONFIG": str(config)}, tmp_path)
    assert (env["ENGINE"], env["PORT"], env["HOST"]) == ("echo", "7", "localhost")
    (tmp_path / ".env").write_bytes(text.encode("utf-16"))
    with pytest.raises(SettingsError, match=r"\.env: .*UTF-16.*save it as UTF-8"):
        Environment.load({}, tmp_path)
    (tmp_path / ".env").write_bytes(b"")
    assert Environment.load({}, tmp_path).get("ENGINE") is None


SECTIONS = {
    "mode": "pod",
    "model": {"name": "org/model", "path": "/models/x"},
    "compute": {"gpu_type_id": "NVIDIA RTX 4090", "gpu_count": 1},
    "pod": {"container_disk_gb": 20},
    "log_level": {"console": "DEBUG"},
}


def test_a_file_with_sections_is_refused_section_by_section(tmp_path: Path) -> None:
    """Each was a text of JSON, and one of them the model's name."""
    file = tmp_path / "llm_config.json"
    file.write_text(json.dumps(SECTIONS))
    env = Environment.load({"ENGINEROOM_CONFIG": str(file), "ENGINE": "echo"}, tmp_path)
    with pytest.raises(SettingsError) as error:
        check(env)
    variables = [problem.variable for problem in error.value.problems]
    assert [name for name in ("COMPUTE", "POD", "LOG_LEVEL", "MODE") if name not in variables] == []
    assert "MODEL" not in variables
    messages = {problem.variable: problem.message for problem in error.value.problems}
    assert "is a section" in messages["POD"]
    assert "engineroom deploy" in messages["COMPUTE"]
    assert messages["MODE"] == "no such setting; files with sections are for `engineroom deploy`"


def test_a_section_with_a_setting_s_name_is_no_value_of_it(tmp_path: Path) -> None:
    """As max-serve-llama's file has it: its text of JSON was looked for as a model, too."""
    file = tmp_path / "max.yaml"
    file.write_text("model: {path: /models/llama.gguf, type: gguf}\nbatching: {timeout_ms: 30000}\n")
    with pytest.raises(SettingsError) as error:
        check(Environment.load({"ENGINEROOM_CONFIG": str(file), "ENGINE": "llamacpp"}, tmp_path))
    assert [problem.variable for problem in error.value.problems] == ["MODEL", "BATCHING"]


@pytest.mark.parametrize(
    ("model", "name"),
    [({"name": "org/model"}, "org/model"), ({"name": "org/model", "path": "/models/x"}, "/models/x"), ("o/m", "o/m")],
)
def test_a_model_s_section_is_understood(model: object, name: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model": model}))
    env = Environment.load({"ENGINEROOM_CONFIG": str(file), "ENGINE": "echo"}, tmp_path)
    assert check(env).env["MODEL_NAME"] == name


def test_a_setting_of_json_takes_a_mapping_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model_name: org/model\nhf_overrides:\n  rope_theta: 1\n")
    engine_type, env = engine_class(Environment.load({"ENGINEROOM_CONFIG": str(file), "ENGINE": "vllm"}, tmp_path))
    assert not known_names(engine_type, env).check(env).problems
