"""TLS over real connections: files that are wrong, and files that change."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from certificates import Pair, write, write_secret
from cryptography import x509
from http_door import COMMAND, Door, serving
from server_process import until

from engineroom.errors import SettingsError
from engineroom.settings import Environment
from engineroom_workers.http.settings import HTTPSettings

PAIR = Pair()
OTHER = Pair()
BOM = b"\xef\xbb\xbf"

CERTIFICATES = {
    "empty": (b"\n", "is empty"),
    "random bytes": (bytes(range(256)) * 8, "there is no certificate in"),
    "a text": (b"To be supplied\n", "there is no certificate in"),
    "a key": (PAIR.key, "a private key; name the certificate here"),
    "a request": (PAIR.request, "but a request for one"),
    "binary": (PAIR.der, "binary form (DER or PKCS #12)"),
    "cut off": (PAIR.certificate[:200], "is not whole"),
    "damaged": (PAIR.certificate.replace(b"\nMI", b"\nXX", 1), "line 1 of"),
    "damaged authority": (PAIR.certificate + OTHER.certificate.replace(b"\nMI", b"\nXX", 1), "is damaged"),
    "a byte order mark": (BOM + PAIR.certificate, "byte order mark"),
    "UTF-16": (PAIR.certificate.decode().encode("utf-16"), "UTF-16"),
    "far too large": (b"GGUF" * 3_000_000, "more than 10 MB"),
}
KEYS = {
    "empty": (b"", "is empty"),
    "random bytes": (bytes(range(256)) * 8, "there is no private key in"),
    "a certificate": (PAIR.certificate, "a certificate; name the key here"),
    "another's": (OTHER.key, "is not that of the first certificate"),
    "cut off": (PAIR.key[:90], "is not whole"),
    "damaged": (PAIR.key.replace(b"\nMI", b"\nXX", 1), "is damaged"),
    "a byte order mark": (BOM + PAIR.key, "byte order mark"),
    "encrypted": (PAIR.encrypted_key("swordfish"), "is encrypted; set UVICORN_SSL_KEYFILE_PASSWORD"),
    "encrypted, older form": (PAIR.encrypted_key("swordfish", older=True), "is encrypted"),
}


def check(**values: object) -> None:
    HTTPSettings.load(Environment.of({f"UVICORN_SSL_{name.upper()}": str(value) for name, value in values.items()}))


def complaint(**values: object) -> str:
    with pytest.raises(SettingsError) as wrong:
        check(**values)
    for line in str(wrong.value).splitlines():
        assert line.startswith("UVICORN_SSL_")
    return str(wrong.value)


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_wrong_certificate_is_named_and_what_it_is(kind: str, tmp_path: Path) -> None:
    content, cause = CERTIFICATES[kind]
    certificate, key = write(tmp_path, PAIR)
    certificate.write_bytes(content)
    message = complaint(certfile=certificate, keyfile=key)
    assert message.startswith("UVICORN_SSL_CERTFILE (from arguments): ")
    assert cause in message
    assert str(certificate) in message


@pytest.mark.parametrize("kind", KEYS)
def test_a_wrong_key_is_named_and_what_it_is(kind: str, tmp_path: Path) -> None:
    content, cause = KEYS[kind]
    certificate, key = write(tmp_path, PAIR)
    key.write_bytes(content)
    message = complaint(certfile=certificate, keyfile=key)
    assert message.startswith("UVICORN_SSL_KEYFILE (from arguments): ")
    assert cause in message
    assert str(key) in message


def test_files_that_cannot_be_opened_are_named_and_why(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, PAIR)
    (tmp_path / "loop").symlink_to("loop")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    listening.close()
    os.mkfifo(tmp_path / "pipe")
    for wrong, cause in {
        tmp_path / "cert.pen": f"did you mean {certificate}?",
        tmp_path / "absent" / "cert.pem": "nor its folder",
        Path("no-such.pem"): f"in {Path.cwd()}; name its full path",
        certificate / "x": "a part of that path is a file",
        tmp_path: "is a folder",
        tmp_path / "loop": "symbolic links",
        tmp_path / "pipe": "is a pipe",
        tmp_path / "socket": "a socket",
        Path("/dev/zero"): "a device",
    }.items():
        assert cause in complaint(certfile=wrong, keyfile=key)
        assert cause in complaint(certfile=certificate, keyfile=wrong)
        both = complaint(certfile=wrong, keyfile=wrong)
        assert "UVICORN_SSL_CERTFILE" in both
        assert "UVICORN_SSL_KEYFILE" in both


def test_settings_that_need_each_other(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, PAIR)
    assert "needs UVICORN_SSL_CERTFILE" in complaint(keyfile=key)
    assert "has no private key in it" in complaint(certfile=certificate)
    key.write_bytes(PAIR.encrypted_key("swordfish"))
    assert "does not open the key" in complaint(certfile=certificate, keyfile=key, keyfile_password="shark")


def test_forms_that_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = write(tmp_path, PAIR)
    both = tmp_path / "both.pem"
    for ends in (b"\n", b"\r\n"):
        certificate.write_bytes(PAIR.certificate.replace(b"\n", ends))
        key.write_bytes(PAIR.key.replace(b"\n", ends))
        check(certfile=certificate, keyfile=key)
        both.write_bytes(b"# made by hand" + ends + key.read_bytes() + certificate.read_bytes())
        check(certfile=both)
    monkeypatch.setenv("HOME", str(tmp_path))
    check(certfile="~/cert.pem", keyfile="~/key.pem")
    for older in (False, True):
        key.write_bytes(PAIR.encrypted_key("swordfish", older))
        check(certfile=certificate, keyfile=key, keyfile_password="swordfish")


def test_a_door_with_a_wrong_certificate_does_not_open(tmp_path: Path) -> None:
    """It served https on which every connection hung."""
    certificate, key = write(tmp_path, PAIR)
    certificate.write_bytes(b"garbage")
    names = {"UVICORN_SSL_CERTFILE": str(certificate), "UVICORN_SSL_KEYFILE": str(key), "ECHO_START_S": "30"}
    with serving({**names, "API_KEYS_FILE": str(tmp_path / "keys.yaml")}, ready=False) as door:
        assert door.ended() == 2
        assert f"UVICORN_SSL_CERTFILE (from environment): there is no certificate in {certificate}" in door.log
        assert f"API_KEYS_FILE (from environment): there is no file {tmp_path / 'keys.yaml'}" in door.log
    environ = {**os.environ, "ENGINE": "echo", **names}
    checked = subprocess.run([COMMAND, "config"], env=environ, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 2
    assert f"there is no certificate in {certificate}" in checked.stderr


def served(door: Door) -> x509.Certificate:
    """The certificate that a new connection gets."""
    port = int(door.url.rpartition(":")[2])
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", port), timeout=30).encode())


def subject(door: Door) -> str:
    try:
        return served(door).subject.rfc4514_string()
    except OSError:
        return ""


def test_a_renewed_certificate_is_taken_over_by_new_connections(tmp_path: Path) -> None:
    """Those that run go on. A broken file changes nothing, and the log says so once."""
    first = Pair("first", days=-1)
    certificate, key = write(tmp_path, first)
    names = {"UVICORN_SSL_CERTFILE": str(certificate), "UVICORN_SSL_KEYFILE": str(key), "ECHO_TOKENS_PER_S": "20"}
    with serving(names, ready=False) as door:
        until(lambda: subject(door) == "CN=first")
        assert "clients will refuse" in door.log
        assert "expired" in door.log
        url = door.url.replace("http", "https")
        body = {"messages": [{"role": "user", "content": "on and on " * 20}], "stream": True}
        with (
            httpx.Client(verify=False) as client,
            client.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as stream,
        ):
            events = stream.iter_lines()
            next(events)
            write(tmp_path, Pair("second"))
            until(lambda: subject(door) == "CN=second")
            assert list(events)[-2] == "data: [DONE]"
        key.write_bytes(OTHER.key)
        until(lambda: "is not that of the first certificate" in door.log)
        time.sleep(1.2)  # Two more looks at it.
        assert subject(door) == "CN=second"
        key.unlink()
        until(lambda: "there is no file" in door.log)
        assert subject(door) == "CN=second"
        third = Pair("third")
        write(tmp_path, third)
        until(lambda: subject(door) == "CN=third")
        trusting = ssl.create_default_context(cadata=third.certificate.decode())
        with httpx.Client(verify=trusting) as client:
            assert client.post(f"{url}/v1/chat/completions", json=body, timeout=60).status_code == 200
        assert door.log.count("is not that of the first certificate") == 1
        assert door.log.count("there is no file") == 1
        assert door.log.count("were read again") == 2
        assert "Traceback" not in door.log


def test_a_secret_of_kubernetes_is_followed(tmp_path: Path) -> None:
    certificate, key = write_secret(tmp_path, Pair("first"), "2026_01")
    keys = tmp_path / "keys.json"
    keys.write_bytes(BOM + json.dumps({"alice": "sk-alice"}).encode() + b"\r\n")
    names = {"UVICORN_SSL_CERTFILE": str(certificate), "UVICORN_SSL_KEYFILE": str(key), "API_KEYS_FILE": str(keys)}
    with serving(names, ready=False) as door:
        until(lambda: subject(door) == "CN=first")
        write_secret(tmp_path, Pair("second"), "2026_02")
        until(lambda: subject(door) == "CN=second")
        url = door.url.replace("http", "https")
        answer = httpx.get(f"{url}/v1/models", headers={"authorization": "Bearer sk-alice"}, verify=False)
        assert answer.status_code == 200
