"""The table of models: each mistake is named with its place, all at once, and no secret is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engineroom import plugins
from engineroom.commands.config import config
from engineroom.errors import Problem, SettingsError
from engineroom.residence.resident_models import ResidentModels
from engineroom.settings import Environment


def problems(table: Any, **environ: str) -> dict[str, Problem]:
    """What is wrong with a table, by place."""
    text = table if isinstance(table, str) else json.dumps(table)
    try:
        plugins.check(Environment.load({"MODELS": text, **environ}, Path("/")))
    except SettingsError as error:
        return {problem.variable: problem for problem in error.problems}
    return {}


ECHO = {"name": "a", "engine": "echo"}


@pytest.mark.parametrize(
    ("entry", "place", "words"),
    [
        ({"echo_ttft_ms": "soon"}, "models[1].echo_ttft_ms", "expected a number"),
        ({"ECHO_TTFT_MS": -1}, "models[1].ECHO_TTFT_MS", "at least 0"),
        ({"echo_ttft": 1}, "models[1].echo_ttft", "did you mean ECHO_TTFT_MS"),
        ({"tll": 3}, "models[1].tll", "did you mean ttl?"),
        ({"alias": "x"}, "models[1].alias", "did you mean aliases?"),
        ({"engine": "ecko"}, "models[1].engine", "no engine called 'ecko'"),
        ({"engine": "llamacpp", "model": "/no/such.gguf"}, "models[1].model", "there is no file"),
        ({"engine": "llamacpp", "model_name": "/no/such.gguf"}, "models[1].model_name", "there is no file"),
        ({"engine": "upstream"}, "models[1].upstream_urls", "at least one server"),
        ({"memory": "lots"}, "models[1].memory", "a size with its unit"),
        ({"memory": 8}, "models[1].memory", "a size with its unit"),
        ({"memory": "9 GB"}, "models[1].memory", "never fit"),
        ({"ttl": 0}, "models[1].ttl", "number of seconds"),
        ({"pinned": "perhaps"}, "models[1].pinned", "true or false"),
        ({"name": "a"}, "models[1].name", "models[0]'s name already"),
        ({"aliases": ["a"]}, "models[1].aliases", "models[0]'s name already"),
        ({"groups": {"x": 1}}, "models[1].groups", "a list of names"),
        ({"served_model_name": "x"}, "models[1].served_model_name", "`name` and `aliases`"),
        ({"port": 80}, "models[1].port", "of the whole worker"),
        ({"log_level": "DEBUG"}, "models[1].log_level", "of the whole worker"),
        ({"models_max_wait": 3}, "models[1].models_max_wait", "of the whole worker"),
        ({"max_messages": "few"}, "models[1].max_messages", "expected a whole number"),
    ],
)
def test_a_mistake_is_named_with_its_place(entry: dict[str, Any], place: str, words: str) -> None:
    result = problems([ECHO, {"name": "b", "engine": "echo", **entry}], MODELS_MEMORY_GB="4")
    assert place in result, result
    assert words in result[place].message


def test_all_mistakes_are_named_at_once() -> None:
    table = [
        {**ECHO, "echo_repeat": 0, "memory": "much"},
        {"engine": "echo"},
        "c",
        {"name": "a", "engine": "ecko", "ttl": "x"},
        {"name": "e", "engine": "echo", "tll": 5, "LOG_LEVEL": "INFO"},
    ]
    result = problems(table, MODELS_MAX_WAIT="-1", PORT="x")
    assert result.keys() == {
        *("models[0].echo_repeat", "models[0].memory", "models[1].name", "models[2]"),
        *("models[3].engine", "models[3].name", "models[3].ttl", "models[4].tll", "models[4].LOG_LEVEL"),
        *("MODELS_MAX_WAIT", "PORT"),
    }


@pytest.mark.parametrize("text", ["[", "{", "[]", '{"a": 1}', "[1, 2"])
def test_what_is_no_table_is_refused(text: str) -> None:
    assert "MODELS" in problems(text)


def test_a_file_that_is_not_there_is_named() -> None:
    assert "there is no file /no/such.yaml" in problems("/no/such.yaml")["MODELS"].message


@pytest.mark.parametrize("model", ["org/name", "org/name:Q8_0"])
def test_one_model_is_no_table(model: str) -> None:
    assert "named by MODEL_NAME" in problems(model)["MODELS"].message


def test_settings_of_one_model_are_not_those_of_several() -> None:
    assert "has several" in problems([ECHO], MODEL_NAME="x")["MODEL_NAME"].message


def test_a_name_near_a_setting_of_no_engine_is_refused_and_of_any_engine_taken() -> None:
    table = [ECHO, {"name": "b", "engine": "upstream", "upstream_urls": "http://127.0.0.1:9/v1"}]
    assert problems(table, ECHO_REPAET="2").keys() == {"ECHO_REPAET"}
    assert not problems(table, ECHO_REPEAT="2", UPSTREAM_CHECK="9")


def test_a_group_that_could_never_be_loaded_is_refused() -> None:
    table = [{**ECHO, "pinned": True, "groups": ["day"]}, {"name": "b", "engine": "echo", "groups": ["night"]}]
    assert "which is pinned" in problems(table)["models[1].groups"].message


@pytest.mark.parametrize("key", ["upstream_api_key", "hf_token"])
def test_no_secret_is_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = {"engine": "upstream", "upstream_urls": "http://127.0.0.1:9/v1", "upstream_check": "x"}
    if key == "hf_token":
        engine = {"engine": "transformers", "model": "org/name", "max_num_seqs": "x"}
    table = json.dumps([{"name": "b", **engine, key: "hunter2"}])
    monkeypatch.setenv("MODELS", table)
    for arguments in ([], ["--all"], ["--json"]):
        result = CliRunner().invoke(config, arguments)
        assert isinstance(result.exception, SettingsError)
        assert "hunter2" not in result.output + str(result.exception)
    monkeypatch.setenv("MODELS", table[:-2])
    assert "hunter2" not in str(CliRunner().invoke(config, []).exception)


def test_the_section_of_a_file_is_a_table_and_one_line_goes_for_all(tmp_path: Path) -> None:
    file = tmp_path / "engineroom.yaml"
    file.write_text(
        "echo_repeat: 2\nmodels:\n  - name: a\n    engine: echo\n    groups: [x, y]\n  - {name: b, engine: echo, "
        "echo_repeat: 3, memory: 1.5 GiB, ttl: 60, pinned: yes}\n"
    )
    setup = plugins.set_up(Environment.load({"ENGINEROOM_CONFIG": str(file)}, tmp_path), lambda *settings: None)
    assert isinstance(setup.engine, ResidentModels)
    assert [choice.env["ECHO_REPEAT"] for choice in setup.choices] == ["2", "3"]
    first, second = setup.engine.residents()
    assert first.groups == ("x", "y")
    assert (second.memory_bytes, second.ttl_s, second.pinned) == (1.5 * 2**30, 60, True)


def test_a_name_is_the_models_own_where_none_is_given(tmp_path: Path) -> None:
    table = [{"engine": "transformers", "model": "org/name"}, {"engine": "echo", "model": "./some.gguf"}]
    setup = plugins.set_up(Environment.load({"MODELS": json.dumps(table)}, tmp_path), lambda *settings: None)
    assert setup.engine.models == ("org/name", "some")


def test_no_setting_of_an_engine_is_called_as_an_entrys_own_keys() -> None:
    from engineroom.residence.entries import OWN_KEYS

    for name in plugins.engine_names():
        engine, env = plugins.engine_class(Environment.of({"ENGINE": name}))
        names = {n.lower() for group in engine.settings(env) for setting in group.describe() for n in setting.names}
        assert not names & set(OWN_KEYS), name
