"""nginx's certificate: the user's own, or one made at the start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest
from http_door import free_port
from nginx_server import Nginx, prepare, settings


def start(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """What the container does before nginx starts."""
    (folder / "certificates").mkdir(exist_ok=True)
    return prepare(folder, settings(CERTIFICATES=str(folder / "certificates"), **environ))


def made(folder: Path) -> bytes:
    return (folder / "certificates/fullchain.pem").read_bytes()


def names(folder: Path) -> str:
    command = ["openssl", "x509", "-in", str(folder / "certificates/fullchain.pem"), "-noout", "-ext", "subjectAltName"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_one_is_made_and_kept(tmp_path: Path) -> None:
    first = start(tmp_path, TLS_NAME="llm.example.org")
    assert first.returncode == 0, first.stderr
    assert "making a certificate for llm.example.org" in first.stderr
    before = made(tmp_path)
    assert all(name in names(tmp_path) for name in ("DNS:llm.example.org", "DNS:localhost", "IP Address:127.0.0.1"))
    assert (tmp_path / "certificates/privkey.pem").stat().st_mode & 0o077 == 0
    assert start(tmp_path, TLS_NAME="llm.example.org").stderr == ""
    assert made(tmp_path) == before


def test_one_for_another_name_or_near_its_end_is_made_anew(tmp_path: Path) -> None:
    start(tmp_path)
    before = made(tmp_path)
    assert start(tmp_path, TLS_NAME="192.0.2.7").returncode == 0
    assert made(tmp_path) != before
    assert "IP Address:192.0.2.7" in names(tmp_path)
    certificates = tmp_path / "certificates"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 20 -batch -subj /CN=old"
    files = ["-keyout", str(certificates / "privkey.pem"), "-out", str(certificates / "fullchain.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True, timeout=60)
    before = made(tmp_path)
    assert start(tmp_path, TLS_NAME="192.0.2.7").returncode == 0
    assert made(tmp_path) != before


def test_the_user_s_own_is_taken_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    start(tmp_path / "made", TLS_NAME="own.example.org")
    (tmp_path / "made/certificates/names").unlink()
    (tmp_path / "certificates").symlink_to(tmp_path / "made/certificates")
    before = made(tmp_path)
    front = Nginx(tmp_path, free_port(), TLS_FOLDER="./tls")
    try:
        assert httpx.get(f"{front.url}/ping", verify=front.trust).status_code == 502
    finally:
        front.stop()
    assert made(tmp_path) == before
    assert not (tmp_path / "certificates/names").exists()


@pytest.mark.parametrize("missing", ["fullchain.pem", "privkey.pem"])
def test_a_folder_without_it_is_complained_of_and_nothing_is_made(tmp_path: Path, missing: str) -> None:
    start(tmp_path)
    (tmp_path / "certificates" / missing).unlink()
    done = start(tmp_path, TLS_FOLDER="./tls")
    assert done.returncode != 0
    assert f"TLS_FOLDER: ./tls has no {missing}" in done.stderr
    assert not (tmp_path / "certificates" / missing).exists()
