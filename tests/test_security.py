"""SECURITY.md names the test that proves each of its lines; these are the proofs that had no other place."""

from __future__ import annotations

import ast
import re
import socket
import stat
from pathlib import Path

import httpx
import psutil
import pytest
from http_door import serving
from pages import ROOT, section, text_of

PAGE = ROOT / "SECURITY.md"
PROOF = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def threats() -> list[str]:
    """The rows of the tables under "Threats", without their headings."""
    rows = [line for line in section(PAGE, "Threats").splitlines() if line.startswith("| ")]
    return [row for row in rows if not row.endswith("| proof |")]


def test_every_threat_names_its_proof() -> None:
    assert len(threats()) > 30
    assert [row for row in threats() if not PROOF.search(row)] == []


def test_every_proof_is_a_test_that_the_suite_runs() -> None:
    listed = re.search(r"^testpaths = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert listed
    folders = re.findall(r'"([\w/]+)"', listed[1])
    missing = []
    for name, function in sorted(set(PROOF.findall(text_of(PAGE)))):
        file = ROOT / name
        collected = file.name.startswith("test_") and any(name.startswith(f"{folder}/") for folder in folders)
        defined = file.is_file() and function in {
            node.name
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        if not collected or not defined:
            missing.append(f"{name}::{function}")
    assert missing == []


def test_a_key_is_checked_before_the_body_is_read() -> None:
    """The client announces a large body and sends none of it: whoever waited for that would answer 408."""
    with serving({"API_KEYS": "sk-alice", "BODY_TIMEOUT": "600"}) as door:
        port = int(door.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 401 ")


def test_an_engines_socket_is_in_a_private_folder() -> None:
    with serving({"ENGINE": "llamacpp", "THREADS": "1"}) as door:
        family = psutil.Process(door.process.pid).children(recursive=True)
        paths = {connection.laddr for child in family for connection in child.net_connections("unix")}
        sockets = [Path(path) for path in paths if isinstance(path, str) and path.startswith("/")]
        assert sockets, "the engine listens on no Unix socket"
        assert [oct(stat.S_IMODE(path.parent.stat().st_mode)) for path in sockets] == ["0o700"] * len(sockets)
        listening = {
            connection.laddr.ip
            for child in family
            for connection in child.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == set(), "the engine is to be reached over its socket alone"


def test_an_engine_gets_no_secret_that_it_does_not_need() -> None:
    secrets = {
        "API_KEYS": "a:sk-private",
        "RUNPOD_API_KEY": "sk-private",
        "AWS_SECRET_ACCESS_KEY": "sk-private",
        "HF_TOKEN": "sk-private",
        "REDIS_URL": "redis://:sk-private@127.0.0.1:1/0",
        "CACHE_TTL": "1",
    }
    with serving({"ENGINE": "llamacpp", "THREADS": "1", **secrets}) as door:
        family = psutil.Process(door.process.pid).children(recursive=True)
        assert len(family) > 1, "the engine has its own process"
        for child in family:
            environ = child.environ()
            assert environ["PATH"]
            assert [name for name, value in environ.items() if "sk-private" in value] == []


def test_the_log_has_nothing_that_a_client_sent_to_the_engine() -> None:
    """llama.cpp quotes requests in its errors: messages, schemas, grammars."""
    secret = "xylophone"
    hello = {"messages": [{"role": "user", "content": secret}]}
    schema = {"type": secret, "pattern": f"^({secret}"}
    bad: list[dict[str, object]] = [
        {**hello, "grammar": f"root ::= {secret} {{{{{{\n{secret} ::= {secret}"},
        {**hello, "grammar": f"root ::= {secret}"},
        {**hello, "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}},
        {**hello, "lora": secret},
    ]
    with serving({"ENGINE": "llamacpp", "THREADS": "1", "CTX_SIZE": "512"}) as door:
        for body in bad:
            assert httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=60).status_code == 400
        assert httpx.post(f"{door.url}/apply-template", json={"messages": secret}, timeout=60).status_code == 400
        door.says("got exception")
        door.says("error parsing grammar")
        assert httpx.post(f"{door.url}/v1/chat/completions", json={**hello, "max_tokens": 1}, timeout=60).is_success
    assert secret not in door.log


def test_the_door_listens_on_loopback_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOST", raising=False)
    with serving() as door:
        listening = {
            connection.laddr.ip
            for connection in psutil.Process(door.process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}


@pytest.mark.parametrize("variable", ["API_KEYS", "API_KEYS_FILE"])
def test_a_list_without_a_key_is_refused(variable: str, tmp_path: Path) -> None:
    """Whoever sets keys wants them: where there is none in what was set, nobody is served."""
    (tmp_path / "keys.yaml").write_text("{}\n")
    value = "," if variable == "API_KEYS" else str(tmp_path / "keys.yaml")
    with serving({variable: value}, ready=False) as door:
        assert door.ended() == 2
        assert variable in door.log
