"""docker/compose/secrets.yml: who gets which secret, and that a worker reads what Compose mounts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from compose_file import ROOT, config
from http_door import serving
from real_engine import script

SECRET = "sk-canary-31337"


@pytest.fixture(scope="module")
def resolved() -> dict[str, Any]:
    return config("*", overlay="secrets.yml", SECRETS_FOLDER="./mine")


def test_each_secret_is_where_it_belongs_and_nowhere_else(resolved: dict[str, Any]) -> None:
    given = {
        name: {secret["source"] for secret in service["secrets"]}
        for name, service in resolved["services"].items()
        if service.get("secrets")
    }
    assert given == {
        "worker": {"api_keys", "hf_token"},
        "queue-worker": {"hf_token"},
        "prometheus": {"metrics_key"},
        "grafana": {"grafana_password"},
    }
    files = {name: secret["file"] for name, secret in resolved["secrets"].items()}
    assert files == {name: str(ROOT / "mine" / name) for name in set().union(*given.values())}


def test_a_worker_reads_what_is_mounted(resolved: dict[str, Any], tmp_path: Path) -> None:
    """Compose's empty variables do not stand before the files, and an empty file counts as none."""
    (tmp_path / "api_keys").write_text(f"alice:{SECRET}\nprometheus:sk-metrics\n")
    (tmp_path / "hf_token").write_text("")
    environ = {name: value for name, value in resolved["services"]["worker"]["environment"].items() if value == ""}
    assert environ["API_KEYS"] == ""
    with serving({**environ, "ENGINEROOM_SECRETS_DIR": str(tmp_path)}) as door:
        assert httpx.get(f"{door.url}/v1/models").status_code == 401
        for key in (SECRET, "sk-metrics"):
            headers = {"Authorization": f"Bearer {key}"}
            assert httpx.get(f"{door.url}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("service", "program", "shown"),
    [("grafana", "/run.sh", "$GF_SECURITY_ADMIN_PASSWORD"), ("prometheus", "prometheus", "$(cat /tmp/metrics_key)")],
)
def test_a_service_s_own_script_takes_the_file(
    resolved: dict[str, Any], tmp_path: Path, service: str, program: str, shown: str
) -> None:
    """With stand-ins for the programs that it starts, which print what they would have."""
    (named,) = (name for name in resolved["services"][service]["environment"] if name.endswith("_FILE"))
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    shown = shown.replace("/tmp", str(tmp_path))
    standin = script(tmp_path / "bin" / Path(program).name, f'echo "{shown}"')
    text = (ROOT / "docker/compose" / service / "start.sh").read_text()
    start = tmp_path / "start.sh"
    start.write_text(text.replace("/tmp/", f"{tmp_path}/").replace("/run.sh", standin))
    environ = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", named: str(tmp_path / "secret")}
    done = subprocess.run(["sh", str(start)], env=environ, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == f"{SECRET}\n"
