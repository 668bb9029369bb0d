"""`engineroom config` says what a start would say: every problem at once, of the engine, the core and every door."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from engineroom.commands.config import config
from engineroom.errors import SettingsError


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, **environ: str) -> Result:
    """The command in this process, with these variables and those that the tests have."""
    for name, value in {"ENGINE": "echo", **environ}.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(config, arguments)


def problems(result: Result) -> dict[str, str]:
    """What is wrong, by variable; nothing where the command ended well."""
    error = result.exception
    assert error is None or isinstance(error, SettingsError), result.output
    return {problem.variable: problem.message for problem in error.problems} if error else {}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAX_CONCURRENCY", "abc"),
        ("MAX_CONCURRENCY", "0"),
        ("RAW_OPENAI_OUTPUT", "maybe"),
        ("JOB_ERRORS", "fail"),
        ("DRAIN_TIMEOUT", "-1"),
        ("PORT", "70000"),
        ("WORKER", "grpc"),
        ("MAX_CONCURRENT_REQUESTS", "none"),
        ("LOG_CONTENT", "true"),
        ("START_TIMEOUT", "soon"),
        ("ECHO_REPEAT", "0"),
    ],
)
def test_a_wrong_value_is_named_whoever_reads_it(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The settings of doors passed, since only a door's own start read them."""
    assert list(problems(run(monkeypatch, **{variable: value}))) == [variable]


def test_all_of_them_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"DRAIN_TIMEOUT": "-1", "MAX_CONCURRENCY": "abc", "PORT": "x", "STOP_TIMEOUT": "y", "ECHO_REPEAT": "0"}
    assert problems(run(monkeypatch, **wrong)).keys() == wrong.keys()


def test_an_engine_that_is_not_there_hides_no_other_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, ENGINE="nosuch", MAX_CONCURRENCY="0", LOG_LEVEL="loud")
    assert problems(result).keys() == {"ENGINE", "MAX_CONCURRENCY", "LOG_LEVEL"}
    assert problems(result)["ENGINE"].startswith("no engine called 'nosuch' is installed")


def test_a_model_for_which_no_engine_can_be_chosen_hides_no_other_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, ENGINE="", HF_HUB_OFFLINE="1", MODEL_NAME="org/nothing", MAX_CONCURRENCY="0")
    assert problems(result).keys() == {"MODEL_NAME", "MAX_CONCURRENCY"}


def test_a_wrong_value_is_marked_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, "--json", DRAIN_TIMEOUT="-1", PORT="8001")
    rows = {row["name"]: row for row in json.loads(result.output)}
    assert rows["DRAIN_TIMEOUT"]["problem"]
    assert rows["PORT"]["problem"] is None


def test_another_name_that_takes_effect_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"ENGINE": "llamacpp", "LLAMA_ARG_CTX_SIZE": "4096", "SERVED_MODEL_NAME": "smol"}
    rows = {row["name"]: row for row in json.loads(run(monkeypatch, "--json", **environ).output)}
    assert rows["CTX_SIZE"]["value"] == "4096"
    assert rows["CTX_SIZE"]["source"] == "environment as LLAMA_ARG_CTX_SIZE"
    assert rows["OPENAI_SERVED_MODEL_NAME_OVERRIDE"]["source"] == "environment as SERVED_MODEL_NAME"
    everything = run(monkeypatch, "--all", ENGINE="llamacpp").output
    assert "LLAMA_ARG_CTX_SIZE" in everything
    assert "N_CTX" in everything


@pytest.mark.parametrize("columns", ["80", "120", "200"])
def test_the_table_fits_the_terminal_with_its_descriptions(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """At 80 columns the descriptions were left out."""
    lines = run(monkeypatch, "--all", COLUMNS=columns).output.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert "Requests that may wait for their turn" in " ".join(" ".join(lines).split())


@pytest.mark.parametrize(
    ("given", "name", "revision"),
    [
        ("https://huggingface.co/org/name", "org/name", None),
        ("hf.co/org/name/tree/main", "org/name", None),
        ("https://huggingface.co/org/name/tree/v2", "org/name", "v2"),
        ("'org/name'", "org/name", None),
    ],
)
def test_a_model_is_shown_as_it_is_taken(
    monkeypatch: pytest.MonkeyPatch, given: str, name: str, revision: str | None
) -> None:
    result = run(monkeypatch, "--json", ENGINE="vllm", MODEL_NAME=given)
    rows = {row["name"]: row["value"] for row in json.loads(result.output)}
    assert (rows["MODEL_NAME"], rows.get("REVISION")) == (name, revision)


def test_the_defaults_are_those_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot's were shown, 0.92 of the GPU's memory and an access log, where the worker gives others."""
    result = run(monkeypatch, "--all", "--json", ENGINE="vllm", MODEL_NAME="org/m")
    rows = {row["name"]: row for row in json.loads(result.output)}
    assert (rows["GPU_MEMORY_UTILIZATION"]["value"], rows["DISABLE_UVICORN_ACCESS_LOG"]["value"]) == ("0.95", "true")
    assert rows["GPU_MEMORY_UTILIZATION"]["takes"] == "more than 0 and at most 1"
    assert rows["TOOL_CALL_PARSER"]["takes"].startswith("one of ")
    assert rows["GPU_MEMORY_UTILIZATION"]["source"] == "default"
