"""Settings models and flag tables: what a wrong value is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from engineroom import plugins
from engineroom.errors import SettingsError
from engineroom.settings import Environment, FlagTable, KnownNames, Layer, WorkerSettings
from engineroom_workers.http.settings import HTTPSettings

SNAPSHOT = """{"engine": "some", "version": "1.0", "flags": [
{"name": "max_model_len", "flags": ["--max-model-len", "-l"], "kind": "suffixed_int"},
{"name": "dtype", "flags": ["--dtype"], "kind": "choice", "choices": ["auto", "float32"], "default": "auto"},
{"name": "enforce_eager", "flags": ["--enforce-eager"], "kind": "bool", "negative": "--no-enforce-eager"},
{"name": "headless", "flags": ["--headless"], "kind": "switch"},
{"name": "lora_modules", "flags": ["--lora-modules"], "kind": "list", "item": "str"},
{"name": "limits", "flags": ["--limits"], "kind": "json"},
{"name": "seed", "flags": ["--seed"], "kind": "int"},
{"name": "utilization", "flags": ["--utilization"], "kind": "float"}
]}"""


@pytest.fixture
def table(tmp_path: Path) -> FlagTable:
    (tmp_path / "1.0.json").write_text(SNAPSHOT)
    return FlagTable.load(tmp_path / "1.0.json")


def test_every_wrong_value_is_said_at_once_with_its_source() -> None:
    env = Environment.of({"START_TIMEOUT": "soon", "LOG_FORMAT": "xml"}, "environment")
    with pytest.raises(SettingsError) as caught:
        WorkerSettings.load(env)
    assert [(p.variable, p.source) for p in caught.value.problems] == [
        ("START_TIMEOUT", "environment"),
        ("LOG_FORMAT", "environment"),
    ]
    assert "expected one of text, json; got 'xml'" in str(caught.value)


def test_either_name_of_an_alias() -> None:
    for name in ("OPENAI_SERVED_MODEL_NAME_OVERRIDE", "SERVED_MODEL_NAME"):
        assert WorkerSettings.load(Environment.of({name: "a, b"})).served_model_name == ("a", "b")
    assert WorkerSettings.load(Environment.of({"SERVED_MODEL_NAME": '["a"]'})).served_model_name == ("a",)


def test_flags_become_arguments(table: FlagTable) -> None:
    env = Environment.of(
        {
            "MAX_MODEL_LEN": "4k",
            "DTYPE": "float32",
            "ENFORCE_EAGER": "false",
            "HEADLESS": "1",
            "LORA_MODULES": "a=b, c=d",
            "LIMITS": '{"image": 1}',
            "SEED": "0",
            "UTILIZATION": "0.9",
        }
    )
    assert table.argv(table.read(env)) == [
        "--max-model-len=4k",
        "--dtype=float32",
        "--no-enforce-eager",
        "--headless",
        *("--lora-modules", "a=b", "c=d"),
        '--limits={"image":1}',
        "--seed=0",
        "--utilization=0.9",
    ]


def test_wrong_flag_values_are_all_said(table: FlagTable) -> None:
    wrong = {
        "MAX_MODEL_LEN": "many",
        "DTYPE": "floaty",
        "ENFORCE_EAGER": "maybe",
        "LIMITS": "{image",
        "SEED": "1.5",
        "UTILIZATION": "much",
    }
    with pytest.raises(SettingsError) as caught:
        table.read(Environment.of(wrong))
    assert {p.variable for p in caught.value.problems} == set(wrong)
    assert "expected one of auto, float32" in str(caught.value)


def test_near_misses_are_errors_and_strangers_are_not(table: FlagTable) -> None:
    shared = {"MAX_MODEL_LENGTH": "1", "HOME": "/", "RUNPOD_POD_ID": "x", "SOME_PROGRAMS_OWN": "y", "SEEDS": "3"}
    env = Environment([Layer("environment", shared, owned=False)])
    problems = KnownNames([table, WorkerSettings]).check(env).problems
    assert [str(p) for p in problems] == [
        "MAX_MODEL_LENGTH (from environment): no such setting; did you mean MAX_MODEL_LEN?",
        "SEEDS (from environment): no such setting; did you mean SEED?",
    ]


def test_a_file_of_ours_may_hold_no_stranger(table: FlagTable) -> None:
    env = Environment([Layer("config file", {"SOME_PROGRAMS_OWN": "y", "SEEDS": "3", "SEED": "1"}, owned=True)])
    problems = KnownNames([table]).check(env).problems
    assert [p.variable for p in problems] == ["SOME_PROGRAMS_OWN", "SEEDS"]
    assert "did you mean SEED?" in str(problems[1])


def test_the_higher_layer_counts_whichever_name_it_uses() -> None:
    layers = [
        Layer("environment", {"SERVED_MODEL_NAME": "high"}, owned=False),
        Layer("config file", {"OPENAI_SERVED_MODEL_NAME_OVERRIDE": "low"}, owned=True),
    ]
    assert WorkerSettings.load(Environment(layers)).served_model_name == ("high",)
    setting = WorkerSettings.describe()[2]
    assert setting.in_force(Environment(layers)) == ("high", "environment as SERVED_MODEL_NAME")


def test_the_process_environment_is_no_source_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    assert WorkerSettings.load(Environment.of({})).log_level == "INFO"


def test_the_cores_the_engines_and_the_doors_problems_are_one_error() -> None:
    env = Environment.of({"ENGINE": "echo", "START_TIMEOUT": "soon", "ECHO_START_S": "never", "PORT": "none"})
    with pytest.raises(SettingsError) as caught:
        plugins.set_up(env, lambda worker, env, names: HTTPSettings.load(env))
    assert [problem.variable for problem in caught.value.problems] == ["START_TIMEOUT", "ECHO_START_S", "PORT"]
