"""Values as people write them: in quotes, with blanks and comments, out of range, as JSON that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from engineroom.errors import SettingsError
from engineroom.settings import Environment, Flag, FlagTable, WorkerSettings

FLAGS = (
    Flag("sequences", ("--sequences",), "int", ge=1),
    Flag("share", ("--share",), "float", gt=0, le=1),
    Flag("rate", ("--rate",), "float", ge=0, lt=1),
    Flag("length", ("--length",), "suffixed_int", ge=-1, le=4096),
    Flag("sizes", ("--sizes",), "list", item="int", ge=1),
    Flag("eager", ("--eager",), "bool", negative="--no-eager"),
    Flag("dtype", ("--dtype",), "choice", choices=("auto", "float16", "FLASH_ATTN")),
    Flag("parser", ("--parser",), "choice", choices=tuple(f"family{n}" for n in range(20)), plugin="parser_plugin"),
    Flag("parser_plugin", ("--parser-plugin",), "str"),
    Flag("config", ("--config",), "json", shape="object", keys=("num_tokens", "method")),
    Flag("items", ("--items",), "json", shape="list"),
    Flag("name", ("--name",), "str"),
)
TABLE = FlagTable("some", "1.0", FLAGS)


def read(**variables: str) -> dict[str, object]:
    return TABLE.read(Environment.of(variables))


def message(**variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**variables)
    (problem,) = caught.value.problems
    return problem.message


@pytest.mark.parametrize(
    "text", ["8", " 8 ", "8\n", "'8'", '"8"', "8 # as many as fit", '"8"  # so', "\ufeff8", "\u201c8\u201d", "8\xa0"]
)
def test_a_number_is_taken_as_it_is_meant(text: str) -> None:
    assert read(SEQUENCES=text) == {"sequences": 8}
    assert WorkerSettings.load(Environment.of({"STOP_TIMEOUT": text})).stop_timeout == 8


@pytest.mark.parametrize("text", ["true", "True ", '"true"', "'yes'", "on # always", "\u201ctrue\u201d", "1", "T"])
def test_so_is_a_switch(text: str) -> None:
    assert read(EAGER=text) == {"eager": True}
    assert WorkerSettings.load(Environment.of({"ENGINE_LOGS": text})).engine_logs is True


@pytest.mark.parametrize(
    ("text", "choice"),
    [("float16", "float16"), ("'Float16'", "float16"), ("flash-attn", "FLASH_ATTN"), ("auto # x", "auto")],
)
def test_a_choice_is_given_as_the_engine_spells_it(text: str, choice: str) -> None:
    assert read(DTYPE=text) == {"dtype": choice}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'org/name'", "org/name"),
        ('"org/name" ', "org/name"),
        ("\u201corg/name\u201d\n", "org/name"),
        ('"a" "b"', '"a" "b"'),
        ("it's", "it's"),
        ("'", "'"),
        ("''", None),
        ("https://host/#part", "https://host/#part"),
        ("{{ x }} # no comment", "{{ x }} # no comment"),
    ],
)
def test_quotes_around_a_whole_text_are_no_part_of_it(tmp_path: Path, text: str, value: str | None) -> None:
    """`docker --env-file` passes them on."""
    assert Environment.load({"MODEL_NAME": text}, tmp_path).get("MODEL_NAME") == value


def test_a_file_s_own_quotes_are_read_by_its_format(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MODEL_NAME='org/name' # mine\nPORT=\u201c8000\u201d\n", encoding="utf-8")
    env = Environment.load({}, tmp_path)
    assert (env["MODEL_NAME"], env["PORT"]) == ("org/name", "8000")


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("SEQUENCES", "0", "expected at least 1; got '0'"),
        ("SEQUENCES", "'0'", "expected at least 1; got '0'"),
        ("SEQUENCES", "many", "expected a whole number; got 'many'"),
        ("SEQUENCES", "8 or 9", "expected a whole number; got '8 or 9'"),
        ("SHARE", "95", "expected more than 0 and at most 1; got '95'; 95 % is 0.95"),
        ("SHARE", "0", "expected more than 0 and at most 1; got '0'"),
        ("SHARE", "nan", "expected more than 0 and at most 1; got 'nan'"),
        ("SHARE", "0,95", "expected a number; got '0,95'"),
        ("RATE", "1", "expected at least 0 and less than 1; got '1'"),
        ("LENGTH", "-2", "expected at least -1 and at most 4096; got '-2'"),
        ("LENGTH", "5k", "expected at least -1 and at most 4096; got '5k'"),
        ("LENGTH", "long", "expected a whole number such as 4096 or 4k; got 'long'"),
        ("SIZES", "1,0", "expected at least 1; got '0'"),
        ("EAGER", "maybe", "expected true or false; got 'maybe'"),
        ("DTYPE", "float61", "expected one of auto, float16, FLASH_ATTN; got 'float61'; did you mean float16?"),
        ("PARSER", "familly7", "has no 'familly7'; did you mean family7?"),
        ("CONFIG", "{'method': 'x'}", "JSON has double quotes"),
        ("CONFIG", "{method: x}", "a shell takes them away"),
        ("CONFIG", "{\u201cmethod\u201d: 1}", "these are typographic ones"),
        ("CONFIG", '{"method": True}', "expected JSON: expecting value after '{\"method\": '; JSON writes true"),
        ("CONFIG", '{"method": "x",}', "no comma after the last item"),
        ("CONFIG", '{"method": "x"', "a bracket is missing"),
        ("CONFIG", "ngram", "at its beginning; got 'ngram'"),
        ("CONFIG", '["ngram"]', "expected JSON with an object"),
        ("CONFIG", '{"num_token": 3}', "has no key 'num_token'; did you mean num_tokens?"),
        ("CONFIG", '{"zork": 3}', "has no key 'zork'; it takes method, num_tokens"),
        ("ITEMS", '{"a": 1}', "expected JSON with a list"),
    ],
)
def test_a_wrong_value_is_named_with_its_limit(variable: str, text: str, says: str) -> None:
    assert says in message(**{variable: text})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SHARE", "1"),
        ("SHARE", "1e-3"),
        ("RATE", "0"),
        ("LENGTH", "-1"),
        ("LENGTH", "4k"),
        ("LENGTH", "4K"),
        ("SEQUENCES", "1_000"),
        ("CONFIG", '{"num-tokens": 3}'),
        ("CONFIG", "{}"),
        ("PARSER", "FAMILY7"),
    ],
)
def test_the_limits_themselves_are_allowed(variable: str, text: str) -> None:
    assert len(read(**{variable: text})) == 1


def test_a_plugin_may_add_choices() -> None:
    assert read(PARSER="mine", PARSER_PLUGIN="/mine.py")["parser"] == "mine"


def test_models_of_settings_speak_as_flags_do() -> None:
    wrong = {"START_TIMEOUT": "0", "LOG_FORMAT": "xml", "ENGINE_LOGS": "maybe", "STOP_TIMEOUT": "soon"}
    with pytest.raises(SettingsError) as caught:
        WorkerSettings.load(Environment.of(wrong))
    assert {problem.variable: problem.message for problem in caught.value.problems} == {
        "START_TIMEOUT": "expected more than 0; got '0'",
        "LOG_FORMAT": "expected one of text, json; got 'xml'",
        "ENGINE_LOGS": "expected true or false; got 'maybe'",
        "STOP_TIMEOUT": "expected a number; got 'soon'",
    }
