"""A pod of the chart, run as its specification says, but for the cluster: its init container, its probes, its end."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pod_standin
import pytest
from certificates import Pair
from helm_chart import container, pod, render
from http_door import free_port
from server_process import until
from standin_hub import standin_hub

IMAGE = {"ENGINE": "echo", "PATH": os.environ["PATH"], "ECHO_TOKENS_PER_S": "20"}
USER = 10001
BODY = {"messages": [{"role": "user", "content": "one two three four five six seven eight nine ten " * 2}]}


def mounted(folder: Path, files: Mapping[str, bytes]) -> None:
    """A Secret's files as the kubelet mounts them: links to a folder that is replaced as a whole."""
    folder.mkdir(exist_ok=True)
    generation = folder / f"..{len(list(folder.iterdir()))}"
    generation.mkdir()
    for name, content in files.items():
        (generation / name).write_bytes(content)
        os.chown(generation / name, 0, USER)
        (generation / name).chmod(0o440)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    new = folder / "..new"
    new.symlink_to(generation.name)
    new.replace(folder / "..data")


class RunningPod:
    """The worker of a pod that has keys and TLS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pair = Pair("first")
        mounted(folder / "secrets", {"API_KEYS": b"alice:sk-alice\n"})
        self.renew(self.pair)
        values = {
            "engine": "echo",
            "model": "echo",
            "secrets": {"API_KEYS": {"name": "llm", "key": "api-keys"}},
            "tls": {"secretName": "tls"},
            "lameDuck": 1,
            "drainTimeout": 30,
        }
        specification = pod(render(values))
        self.container = container(specification)
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        environ = {**IMAGE, "PORT": str(port)}
        self.process = pod_standin.start(specification, self.container, folder, environ)
        self.client = httpx.Client(verify=False, headers={"authorization": "Bearer sk-alice"}, timeout=60)

    def renew(self, pair: Pair) -> None:
        mounted(self.folder / "tls", {"tls.crt": pair.certificate, "tls.key": pair.key})

    def probe(self, name: str) -> int:
        """What the kubelet's probe is answered; 0 where nothing answers."""
        request = self.container[f"{name}Probe"]["httpGet"]
        assert (request["scheme"], request["port"]) == ("HTTPS", "http")
        try:
            return httpx.get(f"{self.url}{request['path']}", verify=False).status_code
        except httpx.TransportError:
            if self.process.poll() is not None:
                pytest.fail(f"it ended: {self.process.communicate()[0]}")
            return 0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPod]:
    """A worker of a pod that has passed its start-up probe."""
    worker = RunningPod(tmp_path_factory.mktemp("pod"))
    try:
        until(lambda: worker.probe("startup") == 200)
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()


def test_it_runs_as_nobody_on_a_disk_that_it_cannot_write_to(running: RunningPod) -> None:
    process = Path("/proc") / str(running.process.pid)
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == {str(USER)}
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    # Where it is mounted, and the options of that mount (proc_pid_mountinfo(5)).
    mounts = {fields[4]: fields[5].split(",") for fields in map(str.split, (process / "mountinfo").open())}
    writable = {path for path, options in mounts.items() if "rw" in options and path.count("/") == 1}
    assert "ro" in mounts["/"]
    assert writable <= {"/scratch", "/tmp", "/proc", "/sys", "/dev"}


def test_its_probes_pass_and_it_wants_a_key(running: RunningPod) -> None:
    assert [running.probe(name) for name in ("startup", "readiness", "liveness")] == [200, 200, 200]
    assert httpx.get(f"{running.url}/v1/models", verify=False).status_code == 401
    assert running.client.get(f"{running.url}/v1/models").status_code == 200


def test_a_renewed_certificate_is_taken_over(running: RunningPod) -> None:
    def served() -> str:
        host, _, port = running.url.removeprefix("https://").partition(":")
        return ssl.get_server_certificate((host, int(port)))

    assert served().encode() == running.pair.certificate
    renewed = Pair("second")
    running.renew(renewed)
    until(lambda: served().encode() == renewed.certificate)


def test_it_ends_as_the_cluster_expects(running: RunningPod) -> None:
    """The last: nothing runs after it."""
    responses: list[Any] = []
    asking = threading.Thread(
        target=lambda: responses.append(running.client.post(f"{running.url}/v1/chat/completions", json=BODY))
    )
    asking.start()
    until(lambda: "engineroom_requests_running 1.0" in running.client.get(f"{running.url}/metrics").text)
    running.process.send_signal(signal.SIGTERM)
    until(lambda: running.probe("readiness") == 503)
    assert running.probe("liveness") == 200
    # Some balancer has not heard of it yet.
    late = running.client.get(f"{running.url}/v1/models")
    assert (late.status_code, late.headers["connection"]) == (200, "close")
    asking.join()
    assert responses[0].status_code == 200
    assert running.process.wait(60) == 0


def test_the_init_container_brings_the_model_and_needs_no_hub_the_next_time(tmp_path: Path) -> None:
    content = b"GGUF" + bytes(1000)
    specification = pod(render({"engine": "llamacpp", "gpus": 0, "model": "org/Small-GGUF:Q8_0"}))
    (download,) = specification["initContainers"]
    image = {"ENGINE": "llamacpp", "PATH": os.environ["PATH"]}

    def run(endpoint: str) -> tuple[int, str]:
        process: subprocess.Popen[str] = pod_standin.start(
            specification, download, tmp_path, {**image, "HF_ENDPOINT": endpoint}
        )
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    with standin_hub(repositories={"org/Small-GGUF": {"Small-Q8_0.gguf": content}}) as hub:
        status, output = run(hub.url)
    assert status == 0, output
    (weights,) = (tmp_path / "models").rglob("Small-Q8_0.gguf")
    assert weights.read_bytes() == content
    status, output = run("http://127.0.0.1:9")
    assert (status, "on this machine already" in output) == (0, True), output
