"""A real nginx with the configuration that docker-compose.yml gives it; tests skip where the program is missing."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import yaml
from http_door import free_port
from programs import need
from server_process import ServerProcess

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docker/compose/nginx"

_MAIN = """
{user}
pid nginx.pid;
error_log stderr notice;
events {{}}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include conf.d/*.conf;
}}
"""


def settings(**environ: str) -> dict[str, str]:
    """The container's environment as docker-compose.yml writes it, every variable at its default."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["nginx"]
    text = {name: str(value) for name, value in service["environment"].items()}
    defaults = {name: re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", value) for name, value in text.items()}
    return {**defaults, **environ}


def prepare(folder: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What the image's entrypoint does, in `folder`: source our script, then render the template."""
    need("openssl", "version")
    need("envsubst", "--version")
    pattern = re.compile(environ["NGINX_ENVSUBST_FILTER"].replace("$$", "$"))
    names = {*environ, "MAX_BODY", "READ_TIMEOUT", "RESOLVER"}
    known = " ".join(f"${{{name}}}" for name in sorted(names) if pattern.search(name))
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "resolv.conf").write_text("search somewhere\nnameserver 127.0.0.11\nnameserver 192.0.2.53\n")
    script = f". '{FILES / '15-engineroom.envsh'}' && envsubst '{known}' <\"$TEMPLATE\" >conf.d/default.conf"
    return subprocess.run(
        ["sh", "-ec", script],
        env={
            "PATH": os.environ["PATH"],
            "TEMPLATE": str(FILES / "engineroom.conf.template"),
            "RESOLV_CONF": str(folder / "resolv.conf"),
            **environ,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _build(program: str) -> str:
    """What this nginx says it is and has; skips where it does not run, or was built without TLS."""
    need(program, "-V")
    text = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=30).stderr
    if "http_ssl_module" not in text:
        pytest.skip("nginx is here and has no http_ssl_module")
    return text


def _resolves(build: str) -> bool:
    """Whether its upstreams may `resolve`, which is since 1.27.3: Debian 12's cannot, and an address has no need to."""
    version = re.search(r"nginx/(\d+)\.(\d+)", build)
    return version is not None and (int(version[1]), int(version[2])) >= (1, 28)


class Nginx:
    """In front of the worker at `port`. `environ`: what differs from docker-compose.yml's defaults."""

    def __init__(self, folder: Path, port: int, **environ: str) -> None:
        # Outside PATH for some users, Debian's is in /usr/sbin.
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip("nginx is not installed (tools/ci-packages.sh installs what tests need)")
        build = _build(program)
        self.certificates = folder / "certificates"
        self.certificates.mkdir(exist_ok=True)
        self.plain, self.port = free_port(), free_port()
        here = {
            "WORKER_ADDRESS": f"127.0.0.1:{port}{' resolve' if _resolves(build) else ''}",
            "LISTEN_HTTP": f"127.0.0.1:{self.plain}",
            "LISTEN_HTTPS": f"127.0.0.1:{self.port}",
            "HTTPS_PORT": str(self.port),
            "CERTIFICATES": str(self.certificates),
        }
        done = prepare(folder, settings(**{**here, **environ}))
        assert done.returncode == 0, done.stderr
        # As root its processes would become somebody who cannot see the tests' folders.
        (folder / "nginx.conf").write_text(_MAIN.format(user="user root;" if os.getuid() == 0 else ""))
        command = [program, "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"]
        self._process = ServerProcess(command, folder / "nginx.log")
        self._process.until_listening(self.port)
        self.url = f"https://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has written so far: complaints, and a line for each request."""
        return self._process.log

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs who was given the certificate."""
        return ssl.create_default_context(cafile=str(self.certificates / "fullchain.pem"))

    def client(self, timeout: float = 60) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.trust, timeout=timeout)

    def stop(self) -> None:
        self._process.stop()
