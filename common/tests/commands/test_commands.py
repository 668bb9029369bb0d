"""The core's commands, as a person runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prepared_python import engineroom as run_engineroom

COMMAND = str(Path(sys.executable).with_name("engineroom"))


def engineroom(*arguments: str, directory: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return run_engineroom(*arguments, environ={**kept, "ENGINE": "echo", **env}, folder=directory)


def test_help_names_the_commands(tmp_path: Path) -> None:
    result = engineroom("--help", directory=tmp_path)
    assert result.returncode == 0
    for command in ("serve", "config", "engines", "check"):
        assert command in result.stdout


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("sreve",), "no command 'sreve'. Did you mean `engineroom serve`?"),
        (("server",), "Did you mean `engineroom serve`?"),
        (("run", "org/name"), "Did you mean `engineroom serve`?"),
        (("lits",), "Did you mean `engineroom models`?"),
        (("version",), "Did you mean `engineroom --version`?"),
        (("./model.gguf",), "to serve a model: `engineroom serve ./model.gguf`"),
        (("qqqqqq",), "no command 'qqqqqq'."),
        (("serve", "--prot", "1"), "did you mean PORT?"),
        (("serve", "org/a", "--model", "org/b"), "two models are named, org/a and --model org/b"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(tmp_path: Path, arguments: tuple[str, ...], meant: str) -> None:
    result = engineroom(*arguments, directory=tmp_path)
    assert result.returncode == 2
    assert meant in result.stderr


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert engineroom("--version", directory=tmp_path).stdout.startswith("engineroom, version ")


def test_help_cuts_no_sentence_short(tmp_path: Path) -> None:
    _, _, commands = engineroom("--help", directory=tmp_path).stdout.partition("Commands:")
    assert "..." not in commands


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("engineroom se", "plain,serve"),
        ("engineroom serve --engine ec", "plain,echo"),
        ("engineroom serve /tm", "file,/tm"),
    ],
)
def test_a_shell_completes(tmp_path: Path, words: str, completed: str) -> None:
    asked = {"_ENGINEROOM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert engineroom(directory=tmp_path, **asked).stdout.splitlines() == [completed]


def test_bash_takes_the_script(tmp_path: Path) -> None:
    script = engineroom("completion", "bash", directory=tmp_path).stdout
    # What the function is asked for once a person has typed `engineroom emu` and presses the tabulator.
    typed = "COMP_WORDS=(engineroom emu); COMP_CWORD=1; _engineroom_completion engineroom; echo ${COMPREPLY[@]}"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{typed}"],
        env={**os.environ, "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "emulate", done.stderr


def test_ctrl_c_while_python_still_imports_is_no_traceback(tmp_path: Path) -> None:
    # Python's own handler, as in a terminal: tests that a script starts in the background inherit none.
    handler = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    (tmp_path / "click.py").write_text(f"import os, signal\n{handler}\nos.kill(os.getpid(), signal.SIGINT)\n")
    result = engineroom("engines", directory=tmp_path, PYTHONPATH=str(tmp_path))
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_config_shows_values_and_sources(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ECHO_TTFT_MS=5\n")
    result = engineroom("config", "--json", directory=tmp_path, PORT="8123")
    assert result.returncode == 0, result.stderr
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["PORT"]["value"] == "8123"
    assert rows["PORT"]["source"] == "environment"
    assert rows["ECHO_TTFT_MS"]["value"] == "5"
    assert rows["ECHO_TTFT_MS"]["source"] == ".env"
    assert "DRAIN_TIMEOUT" not in rows
    everything = engineroom("config", "--all", directory=tmp_path)
    assert "DRAIN_TIMEOUT" in everything.stdout


def test_config_fits_a_terminal_and_shows_everything_as_it_is(tmp_path: Path) -> None:
    """Names were cut off at 80 columns, and a value in brackets was taken for markup."""
    environ = {"ENGINE": "vllm", "MODEL_NAME": "[red]/model"}
    narrow = engineroom("config", "--all", directory=tmp_path, COLUMNS="80", **environ).stdout
    assert max(map(len, narrow.splitlines())) <= 80
    assert "OPENAI_SERVED_MODEL_NAME_OVERRIDE " in narrow
    assert "[red]/model" in narrow
    assert "…" not in engineroom("config", directory=tmp_path, COLUMNS="40", **environ).stdout
    piped = engineroom("config", "--all", directory=tmp_path, **environ).stdout.splitlines()
    (line,) = (line for line in piped if line.split()[:1] == ["API_KEYS_FILE"])
    assert line.endswith("`priority`."), "the whole description, on the setting's own line"


def test_config_masks_secrets(tmp_path: Path) -> None:
    result = engineroom("config", "--all", directory=tmp_path, ENGINE="vllm", MODEL_NAME="org/m", HF_TOKEN="hf_canary")
    assert "HF_TOKEN" in result.stdout
    assert "hf_canary" not in result.stdout + result.stderr
    assert "********" in result.stdout


@pytest.mark.parametrize("arguments", [["--all"], ["--all", "--json"]])
def test_config_shows_nobodys_password_in_an_url(tmp_path: Path, arguments: list[str]) -> None:
    urls = {
        "REDIS_URL": "redis://:canary@127.0.0.1:1/0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:canary@127.0.0.1:1",
        "UPSTREAM_URLS": "http://me:canary@127.0.0.1:1/v1",
        "HF_ENDPOINT": "http://127.0.0.1:1/?x=1&X-Amz-Signature=canary",
    }
    result = engineroom("config", *arguments, directory=tmp_path, ENGINE="upstream", **urls)
    assert "127.0.0.1:1" in result.stdout
    assert "canary" not in result.stdout + result.stderr


def test_config_checks(tmp_path: Path) -> None:
    result = engineroom("config", directory=tmp_path, STOP_TIMEOUT="soon", START_TIMEOUT="later")
    assert result.returncode == 2
    assert "STOP_TIMEOUT" in result.stderr
    assert "START_TIMEOUT" in result.stderr


def test_a_dotenv_file_may_be_shared_with_other_programs(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GRAFANA_PASSWORD=x\nHF_TOKEN=hf_x\nREQUEST_TIMEOUT=5\n")
    shown = engineroom("config", directory=tmp_path, ENGINE="echo")
    assert shown.returncode == 0, shown.stderr
    assert "REQUEST_TIMEOUT" in shown.stdout
    (tmp_path / ".env").write_text("REQUEST_TIMOUT=5\n")
    refused = engineroom("config", directory=tmp_path, ENGINE="echo")
    assert "did you mean REQUEST_TIMEOUT?" in refused.stdout + refused.stderr
    assert refused.returncode != 0


def test_a_table_of_models_hides_no_wish_that_is_not_granted(tmp_path: Path) -> None:
    table = json.dumps([{"name": "a", "engine": "echo"}])
    shown = engineroom("config", directory=tmp_path, MODELS=table, NUM_CTX="4096")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"Without effect\n\s+NUM_CTX", shown.stdout), shown.stdout
    table = json.dumps([{"name": "a", "engine": "echo"}, {"name": "b", "engine": "llamacpp"}])
    heeded = engineroom("config", directory=tmp_path, MODELS=table, NUM_CTX="4096")
    assert "Without effect" not in heeded.stdout, "it is one engine's"
    refused = engineroom("config", directory=tmp_path, MODELS=table, CTXSIZE="4096")
    assert refused.returncode == 2
    assert "CTX_SIZE" in refused.stderr


def test_engines_lists_what_is_installed_and_what_is_missing(tmp_path: Path) -> None:
    result = engineroom("engines", directory=tmp_path)
    assert result.returncode == 0
    for engine in ("echo", "llamacpp", "vllm", "fastdeploy"):
        assert engine in result.stdout
    only = engineroom("engines", directory=tmp_path, ENGINEROOM_ENGINES="echo")
    assert "vllm" not in only.stdout


def test_what_an_engine_needs_is_shown_as_it_is(tmp_path: Path) -> None:
    """Words in brackets were taken for markup, so `pip install 'package[engine]'` lost its end."""
    result = engineroom("engines", directory=tmp_path, FASTDEPLOY_PYTHON="/no/[such]/python")
    assert "/no/[such]/python" in result.stdout


def test_check_runs_against_a_named_engine(tmp_path: Path) -> None:
    result = engineroom("check", "echo", "--only", "chat_answers", "--only", "chat_streams", directory=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "2 kept, 0 broken" in result.stdout


@pytest.mark.parametrize("arguments", [("check", "--only", "nothing"), ("check", "nosuchengine")])
def test_check_refuses_what_it_does_not_know(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = engineroom(*arguments, directory=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_check_says_once_that_nobody_answers(tmp_path: Path) -> None:
    """Every check failed by itself, eighteen times over."""
    result = engineroom("check", "http://127.0.0.1:1", directory=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: cannot reach http://127.0.0.1:1")
    without_scheme = engineroom("check", "localhost:8000", directory=tmp_path)
    assert without_scheme.returncode == 2
    assert "did you mean http://localhost:8000?" in without_scheme.stderr
