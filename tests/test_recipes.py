"""docs/recipes.md, as far as its programs are here: the others are tried by tools/recipes.py (`make recipes`)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import pytest
import yaml
from http_door import Door, free_port, serving
from pages import ROOT, section
from programs import need
from server_process import ServerProcess

from engineroom_workers.settings import DoorSettings

PAGE = ROOT / "docs/recipes.md"


def block(heading: str, language: str) -> str:
    """The last block of a language under a heading."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section(PAGE, heading), re.MULTILINE | re.DOTALL)[-1]


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving({"ENGINE": "llamacpp", "THREADS": "1"}) as door:
        yield door


@pytest.mark.parametrize(("client", "package"), [("OpenAI's client", "openai"), ("Anthropic's client", "anthropic")])
def test_a_client_prints_what_its_last_line_says(client: str, package: str, door: Door) -> None:
    pytest.importorskip(package)
    code = block(client, "python").replace("http://127.0.0.1:8000", door.url)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.stdout == code.splitlines()[-1].removeprefix("# "), done.stderr


def test_documents_are_retrieved_through_the_worker() -> None:
    """The store in the program's own process, and a worker that makes vectors and chats; `make recipes` has a model."""
    pytest.importorskip("qdrant_client", reason="qdrant-client is not installed here; `make recipes` installs it")
    with serving() as echo:
        code = block("Retrieval with Qdrant", "python").replace("http://127.0.0.1:8000", echo.url)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == code.splitlines()[-1].removeprefix("# "), done.stderr


def test_a_script_waits_until_the_model_is_ready() -> None:
    need("curl", "--version")
    with serving({"ECHO_START_S": "2"}, ready=False) as door:
        script = block("Wait until it is ready", "sh").replace("http://127.0.0.1:8000", door.url)
        subprocess.run(["bash", "-euc", script], check=True, timeout=60, capture_output=True)
        assert door.ping() == 200


def test_bash_completes_commands(tmp_path: Path) -> None:
    question = "COMP_WORDS=(engineroom s)\nCOMP_CWORD=1\n_engineroom_completion engineroom\n"
    script = block("Shell completion", "sh") + question + 'printf "%s\\n" "${COMPREPLY[@]}"'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, timeout=60)
    assert {"serve", "start"} <= set(done.stdout.split()), done.stderr


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    need("systemd-analyze", "--version")
    unit = tmp_path / "engineroom.service"
    unit.write_text(block("systemd", "ini").replace("/opt/engineroom/bin/engineroom", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    complaints = [line for line in done.stderr.splitlines() if "engineroom.service" in line]
    assert done.returncode == 0, done.stderr
    assert complaints == []


def test_a_worker_told_to_stop_by_systemd_has_time_to_drain() -> None:
    timeout = re.search(r"^TimeoutStopSec=(\d+)$", block("systemd", "ini"), re.MULTILINE)
    assert timeout
    assert int(timeout[1]) > DoorSettings.model_fields["drain_timeout"].default


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[tuple[str, Door]]:
    """The recipe's nginx before a door with the echo engine; its port and certificate are the test's."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    need("openssl", "version")
    need(program or "nginx", "-v")
    assert program
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    request += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "privkey.pem", "-out", "fullchain.pem"]
    subprocess.run(request, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    with serving({"MAX_REQUEST_MB": "0.1"}) as door:
        port = free_port()
        site = block("nginx of your own", "nginx")
        site = site.replace("listen 443", f"listen 127.0.0.1:{port}")
        site = site.replace("127.0.0.1:8000", door.url.removeprefix("http://"))
        site = site.replace("/etc/letsencrypt/live/llm.example.com", str(tmp_path))
        user = "user root;" if os.getuid() == 0 else ""
        temporary = " ".join(
            f"{name}_temp_path {name};" for name in ("fastcgi", "uwsgi", "scgi", "proxy", "client_body")
        )
        (tmp_path / "nginx.conf").write_text(
            f"{user} pid nginx.pid; error_log stderr; events {{}} http {{ access_log off; {temporary}\n{site}}}"
        )
        server = ServerProcess(
            [program, "-p", str(tmp_path), "-c", "nginx.conf", "-g", "daemon off;"], tmp_path / "nginx.log"
        )
        try:
            server.until_listening(port)
            yield f"https://127.0.0.1:{port}", door
        finally:
            server.stop()


def test_nginx_passes_each_event_on_at_once(nginx: tuple[str, Door], tmp_path: Path) -> None:
    """The engine makes three tokens and then no more: behind a buffer a client would have none of them."""
    url, door = nginx
    body = {"messages": [{"role": "user", "content": "Hello there, how are you today?"}], "stream": True}
    faults = {"echo_fault": "hang", "echo_fault_after": 3}
    with httpx.Client(base_url=url, verify=str(tmp_path / "fullchain.pem"), timeout=60) as client:
        with client.stream("POST", "/v1/chat/completions", json={**body, **faults}) as answer:
            tokens = (line for line in answer.iter_lines() if re.search(r'"content":\s*"[^"]', line))
            assert len(list(islice(tokens, 3))) == 3
        too_large = client.post("/v1/chat/completions", content=b" " * 200_000)
        assert too_large.status_code == 413
        assert too_large.json()["error"]["code"] == "request_too_large"
    assert door.process.poll() is None


def test_the_manifest_is_of_a_worker_that_drains_and_is_asked_where_it_answers() -> None:
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    text = re.search(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert text
    pod = yaml.safe_load(text[1])["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] >= 15 + DoorSettings.model_fields["drain_timeout"].default + 15
    probes = {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    assert {probe: container[probe]["httpGet"]["path"] for probe in probes} == probes
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
