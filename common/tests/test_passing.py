"""What the core offers engines that are servers: requests looked at before they pass, errors read, caches found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from standin.engine import StandinEngine

from engineroom.errors import APIError
from engineroom.models import HubSettings
from engineroom.openai.strict import CHAT, checked, refuse
from engineroom.openai.upstream_errors import from_upstream
from engineroom.server import ServerEngine, tool_probe
from engineroom.settings import Environment, FlagTable, version_beside

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}


def test_nulls_are_left_out_and_unknown_fields_left_alone() -> None:
    assert checked(CHAT, {**ASKED, "n": None, "min_p": 0.1}) == {**ASKED, "min_p": 0.1}
    assert checked("/v1/elsewhere", {"n": "x", "a": None}) == {"n": "x"}
    with pytest.raises(APIError) as refused:
        checked(CHAT, {**ASKED, "temperature": 9})
    assert refused.value.param == "temperature"


def test_a_field_that_would_be_ignored_is_refused_by_name() -> None:
    refuse({"suffix": None, "echo": False}, {"suffix": "", "echo": ""}, "Engine")
    with pytest.raises(APIError, match="Engine has no 'echo' here; set ECHO=true") as refused:
        refuse({"echo": True}, {"echo": "set ECHO=true"}, "Engine")
    assert (refused.value.param, refused.value.code) == ("echo", "unsupported_parameter")


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ("unseen", None, "tools"),
        ("unseen", "none", None),
        ("optional", None, None),
        ("optional", "auto", None),
        ("optional", "required", "tool_choice"),
        ("optional", {"type": "function", "function": {"name": "f"}}, "tool_choice"),
        ("forced", "required", None),
    ],
)
def test_tools_that_would_be_ignored_are_refused(tools: tool_probe.Tools, choice: object, param: str | None) -> None:
    request = {**ASKED, "tools": TOOLS, "tool_choice": choice}
    if param is None:
        tool_probe.check(request, tools)
        return
    with pytest.raises(APIError) as refused:
        tool_probe.check(request, tools)
    assert refused.value.param == param


class StandinUpstream:
    """A server whose prompt is longer with tools where it shows them, and that may be made to call them."""

    def __init__(self, *, shows: bool, forces: bool) -> None:
        self._shows, self._forces = shows, forces

    async def ask(self, path: str, json: dict[str, Any]) -> Any:
        called = self._forces and json.get("tool_choice") == "required"
        prompt = 20 if self._shows and json.get("tools") else 10
        message = {"tool_calls": [{"id": "1"}] if called else None}
        return {"usage": {"prompt_tokens": prompt}, "choices": [{"message": message}]}


@pytest.mark.parametrize(
    ("shows", "forces", "expected"),
    [(False, True, "unseen"), (True, False, "optional"), (True, True, "forced")],
)
async def test_what_becomes_of_tools_is_found_out(shows: bool, forces: bool, expected: str) -> None:
    upstream: Any = StandinUpstream(shows=shows, forces=forces)
    assert await tool_probe.find_out(upstream, "m") == expected


def test_pydantic_s_errors_are_read() -> None:
    head, tail = "1 validation error for CreateRequest\n", "For further information visit https://errors.pydantic.dev"
    unknown = f"{head}foo\n  Extra inputs are not permitted [type=extra_forbidden, input_value=3]\n    {tail}"
    error = from_upstream(400, json.dumps({"error": {"message": unknown, "code": "400", "param": ""}}).encode())
    assert (error.message, error.param, error.code) == ("Unrecognized request argument supplied: foo", "foo", None)
    wrong = f"{head}top_k\n  Input should be a valid integer [type=int_parsing, input_value='a']\n    {tail}"
    error = from_upstream(400, json.dumps({"error": {"message": wrong}}).encode())
    assert (error.message, error.param) == ("Input should be a valid integer: 'top_k'.", "top_k")


def test_an_exit_is_explained_by_its_last_error_and_what_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def explain(*log: str) -> str | None:
        return ServerEngine.explain_exit(StandinEngine(), 1, log)

    monkeypatch.setattr(StandinEngine, "advice", {"too large": "take a smaller one"})
    assert explain("INFO: loading", "started") is None
    assert explain("ValueError: first", "a.b.OddError: the last", "  at x") == "a.b.OddError: the last"
    assert explain("ValueError: it is too large") == "take a smaller one (ValueError: it is too large)"
    assert "is gated" in (explain("huggingface_hub.errors.GatedRepoError: 403") or "")


def test_a_missing_command_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandinEngine, "remedy", "install it")

    class Ended:
        returncode, not_found, tail = 127, True, ("/none: No such file or directory",)

    process: Any = Ended()
    told = StandinEngine()._why(process)
    assert told == "standin could not be started: /none: No such file or directory; install it"


def test_a_version_is_read_off_the_files_beside_a_command(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    for name in ("thing-1.2.3.dist-info", "thing_core-9.9.dist-info"):
        (packages / name).mkdir(parents=True)
    command = tmp_path / "bin" / "thing"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    assert version_beside(str(command), "thing") == "1.2.3"
    assert version_beside(str(command), "other") is None
    assert version_beside("/no/such/command", "thing") is None


def test_the_nearest_snapshot_is_found(tmp_path: Path) -> None:
    for version in ("1.2", "1.10", "2.0.1"):
        (tmp_path / f"{version}.json").write_text(json.dumps({"engine": "x", "version": version, "flags": []}))
    near = {
        None: "2.0.1",
        "1.2": "1.2",
        "1.9.9": "1.2",
        "1.10.0+cpu": "1.10",
        "0.1": "1.2",
        "2.0.0": "1.10",
        "9": "2.0.1",
    }
    for asked, expected in near.items():
        assert FlagTable.nearest(tmp_path, asked).version == expected, asked


def test_what_survives_is_used_for_models_and_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "THING_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    def environ(**values: str) -> dict[str, str]:
        env = Environment.of({"BASE_PATH": "/none", "MODEL_NAME": "a/b", **values})
        return HubSettings.load(env).environ(env, ("HF_HOME", "THING_CACHE"), compiled=("THING_CACHE", "thing"))

    volume, home = tmp_path / "volume", tmp_path / "home"
    volume.mkdir()
    home.mkdir()
    found = environ(BASE_PATH=str(volume), HF_TOKEN="secret")
    assert (found["HF_HOME"], found["THING_CACHE"]) == (f"{volume}/huggingface-cache", f"{volume}/thing")
    assert found["HF_TOKEN"] == "secret"
    assert environ(HF_HOME=str(home))["THING_CACHE"] == f"{home}/thing"
    assert environ(HF_HOME=str(home), THING_CACHE="/mine")["THING_CACHE"] == "/mine"
    assert "THING_CACHE" not in environ()
    assert "HF_HUB_OFFLINE" not in environ()
