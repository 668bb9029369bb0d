"""Settings as options of a command line."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from engineroom.commands.setting_options import SettingsCommand


@click.command(cls=SettingsCommand)
@click.argument("model", required=False)
@click.option("--port", type=int)
@click.option("--json", "as_json", is_flag=True)
def command(settings: dict[str, str], model: str | None, port: int | None, as_json: bool) -> None:
    click.echo(json.dumps([settings, model, port, as_json]))


def parsed(line: str) -> object:
    result = CliRunner().invoke(command, line.split())
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.mark.parametrize(
    ("line", "settings", "model"),
    [
        ("", {}, None),
        ("x.gguf", {}, "x.gguf"),
        ("--max-model-len 4096 x.gguf", {"MAX_MODEL_LEN": "4096"}, "x.gguf"),
        ("x.gguf --max-model-len=4k", {"MAX_MODEL_LEN": "4k"}, "x.gguf"),
        ("--max_model_len 1", {"MAX_MODEL_LEN": "1"}, None),
        ("--n-gpu-layers -1 x", {"N_GPU_LAYERS": "-1"}, "x"),
        ("x --enable-lora", {"ENABLE_LORA": "true"}, "x"),
        ("x --enable-lora --dtype half", {"ENABLE_LORA": "true", "DTYPE": "half"}, "x"),
        ("x --no-enable-prefix-caching", {"ENABLE_PREFIX_CACHING": "false"}, "x"),
        ("--hf-overrides={} x", {"HF_OVERRIDES": "{}"}, "x"),
        ("--api-keys= x", {"API_KEYS": ""}, "x"),
        ("--a b=c", {"A": "b=c"}, None),
        ("-- --x", {}, "--x"),
    ],
)
def test_unknown_options_are_settings(line: str, settings: dict[str, str], model: str | None) -> None:
    assert parsed(line) == [settings, model, None, False]


def test_the_command_s_own_options_stay_its_own() -> None:
    assert parsed("--port 1 --json --page false x") == [{"PAGE": "false"}, "x", 1, True]
    assert parsed("--port=1 --a 2") == [{"A": "2"}, None, 1, False]


def test_a_setting_given_twice_is_refused() -> None:
    result = CliRunner().invoke(command, ["--lora-modules", "a", "--lora-modules", "b"])
    assert result.exit_code == 2
    assert "--lora-modules is given twice" in result.output
