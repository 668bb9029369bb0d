"""Secrets from files: a mounted folder of them, and variables that name one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engineroom.errors import SettingsError
from engineroom.models import HubSettings
from engineroom.plugins import check, engine_class, known_names
from engineroom.runpod_account import RunPodAccount
from engineroom.settings import Environment

SECRET = "hf_canary_31337"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is mounted at /run/secrets."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    return secrets


def load(folder: Path, **environ: str) -> Environment:
    """What a worker would have, with the engine `upstream`, whose settings have secrets."""
    given = {"ENGINE": "upstream", "UPSTREAM_URLS": "http://127.0.0.1:9/v1", "ENGINEROOM_SECRETS_DIR": str(folder)}
    return Environment.load({**given, **environ}, folder.parent)


def understood(env: Environment) -> Environment:
    return engine_class(env)[1]


@pytest.mark.parametrize("name", ["HF_TOKEN", "hf_token", "hf-token", "HUGGING_FACE_HUB_TOKEN"])
def test_a_secret_of_the_folder_counts_by_any_spelling_of_its_name(folder: Path, name: str) -> None:
    (folder / name).write_text(f"{SECRET}\n")
    token = HubSettings.load(load(folder)).hf_token
    assert token is not None
    assert token.get_secret_value() == SECRET


def test_a_key_by_another_name_locks_the_door(folder: Path) -> None:
    (folder / "api_key").write_text("sk-1")
    env = understood(load(folder))
    assert env["API_KEYS"] == "sk-1"
    assert env.source("API_KEYS") == str(folder / "api_key")


def test_links_as_kubernetes_mounts_them_are_followed(folder: Path) -> None:
    (folder / "..data").mkdir()
    (folder / "..data/upstream_api_key").write_text("sk-1")
    (folder / "upstream_api_key").symlink_to("..data/upstream_api_key")
    (folder / "kubernetes.io").mkdir()
    env = understood(load(folder))
    assert env["UPSTREAM_API_KEY"] == "sk-1"
    assert env.source("UPSTREAM_API_KEY") == str(folder / "upstream_api_key")
    check(load(folder))


def test_a_variable_may_name_a_secret_s_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    env = understood(load(folder, UPSTREAM_API_KEY_FILE=str(tmp_path / "token")))
    assert env["UPSTREAM_API_KEY"] == SECRET
    assert env.source("UPSTREAM_API_KEY") == "environment as UPSTREAM_API_KEY_FILE"
    account = RunPodAccount.load(load(folder, RUNPOD_API_KEY_FILE=str(tmp_path / "token")))
    assert account.headers == {"Authorization": f"Bearer {SECRET}"}


def test_variables_go_before_the_folder_and_the_folder_before_a_configuration_file(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "upstream_api_key").write_text("folder")
    (tmp_path / "config.yaml").write_text("upstream_api_key: config\n")
    (tmp_path / "own").write_text("own")
    config = {"ENGINEROOM_CONFIG": str(tmp_path / "config.yaml")}
    assert understood(load(folder, **config))["UPSTREAM_API_KEY"] == "folder"
    assert understood(load(folder, UPSTREAM_API_KEY="", **config))["UPSTREAM_API_KEY"] == "folder"
    assert understood(load(folder, UPSTREAM_API_KEY="environment", **config))["UPSTREAM_API_KEY"] == "environment"
    assert understood(load(folder, UPSTREAM_API_KEY_FILE=str(tmp_path / "own"), **config))["UPSTREAM_API_KEY"] == "own"
    (folder / "upstream_api_key").write_text("\n")
    assert understood(load(folder, **config))["UPSTREAM_API_KEY"] == "config", "an empty file counts as not set"


def test_both_a_secret_and_its_file_are_told(folder: Path, tmp_path: Path) -> None:
    env = load(folder, UPSTREAM_API_KEY="given", UPSTREAM_API_KEY_FILE=str(tmp_path / "not read"))
    engine, applied = engine_class(env)
    assert applied["UPSTREAM_API_KEY"] == "given"
    (notice,) = known_names(engine, applied).check(applied).warnings
    assert str(notice) == (
        "UPSTREAM_API_KEY_FILE (from environment) is not used: UPSTREAM_API_KEY is set, too (from environment)"
    )


def unreadable(file: Path, how: str) -> None:
    content = {"binary": SECRET.encode() + b"\xff\xfe\xff", "utf-16": SECRET.encode("utf-16")}
    if how in content:
        file.write_bytes(content[how])
    elif how == "large":
        file.write_text(SECRET * 1_000_000)


@pytest.mark.parametrize("how", ["binary", "utf-16", "large"])
@pytest.mark.parametrize("named", [True, False])
def test_a_file_that_cannot_be_read_is_named_and_not_quoted(
    folder: Path, tmp_path: Path, how: str, named: bool
) -> None:
    file = tmp_path / "mine" if named else folder / "runpod_api_key"
    unreadable(file, how)
    env = load(folder, **({"RUNPOD_API_KEY_FILE": str(file)} if named else {}))
    for attempt in (lambda: check(env), lambda: RunPodAccount.load(env)):
        with pytest.raises(SettingsError) as refused:
            attempt()
        (problem,) = refused.value.problems
        assert problem.variable == ("RUNPOD_API_KEY_FILE" if named else "RUNPOD_API_KEY")
        assert str(file) in str(problem)
        assert SECRET not in str(problem)


@pytest.mark.parametrize(("content", "words"), [(None, "there is no file"), ("", "is empty")])
def test_a_named_file_that_is_missing_or_empty_is_refused(
    folder: Path, tmp_path: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "mine").write_text(content)
    with pytest.raises(SettingsError, match=words):
        check(load(folder, UPSTREAM_API_KEY_FILE=str(tmp_path / "mine")))


def test_a_wrong_secret_is_told_with_its_file_and_not_quoted(folder: Path) -> None:
    (folder / "redis_url").write_text("http://user:canary@redis")
    with pytest.raises(SettingsError) as refused:
        check(load(folder))
    (problem,) = refused.value.problems
    assert (problem.variable, problem.source) == ("REDIS_URL", str(folder / "redis_url"))
    assert "canary" not in str(refused.value)


def test_a_folder_that_is_named_and_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ENGINEROOM_SECRETS_DIR: .* cannot be read as a folder of secrets"):
        load(tmp_path / "nowhere")


def test_other_programs_secrets_are_left_alone_and_settings_that_are_none_are_told(folder: Path) -> None:
    """A text that is no path would be quoted in an error, were it taken for API_KEYS_FILE."""
    (folder / "postgres_password").write_bytes(b"\xff")
    (folder / "redhat.repo").write_text("x")
    (folder / "api_keys_file").write_text(f"alice: {SECRET}")
    (folder / "model_name").write_text("org/model")
    (folder / "upstream_api_kye").write_text(SECRET)
    engine, env = engine_class(load(folder))
    assert SECRET not in env.values()
    warnings = {notice.variable: notice.message for notice in known_names(engine, env).check(env).warnings}
    assert warnings == {
        "API_KEYS_FILE": "is not used: only secrets are read from there: set API_KEYS_FILE as a variable",
        "MODEL_NAME": "is not used: only secrets are read from there: set MODEL_NAME as a variable",
        "UPSTREAM_API_KYE": "is not used: call the file upstream_api_key",
    }
    check(load(folder))


def test_config_shows_where_a_secret_stands_and_masks_it(folder: Path) -> None:
    (folder / "api_keys").write_text(f"alice:{SECRET}\nbob:sk-2\n")
    environ = {"PATH": os.environ["PATH"], "ENGINE": "echo", "ENGINEROOM_SECRETS_DIR": str(folder)}
    command = [str(Path(sys.executable).with_name("engineroom")), "config", "--json"]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    (row,) = [row for row in json.loads(done.stdout) if row["name"] == "API_KEYS"]
    assert (row["value"], row["source"]) == ("********", str(folder / "api_keys"))
    assert SECRET not in done.stdout + done.stderr
