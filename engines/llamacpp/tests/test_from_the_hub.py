"""A model of the hub, served: over a stand-in for the hub, with real weights and the real engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from standin_hub import standin_hub

from engineroom_llamacpp.models import packaged
from engineroom_workers.testing import free_port

COMMAND = str(Path(sys.executable).with_name("engineroom"))


def serve(model: str, home: Path, hub: str, port: int) -> subprocess.Popen[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "HF_ENDPOINT": hub, "PORT": str(port)}
    # Engines that are installed apart have no part in this.
    environ |= {"ENGINEROOM_ENGINES": "echo,llamacpp", "LLAMA_ARG_THREADS": "1", "CTX_SIZE": "512", "PARALLEL": "1"}
    return subprocess.Popen(
        [COMMAND, "serve", model], env=environ, cwd=home, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def until_ready(port: int, process: subprocess.Popen[str]) -> None:
    while True:
        assert process.poll() is None, process.communicate()[1]
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 200:
                return
        except httpx.TransportError:
            pass  # It does not listen yet.
        time.sleep(0.05)


def test_it_is_downloaded_and_served_and_a_stop_in_the_midst_loses_nothing(tmp_path: Path) -> None:
    files = {"README.md": b"", "Small-Q4_K_M.gguf": packaged().read_bytes(), "Small-Q8_0.gguf": b"GGUF"}
    port = free_port()
    with standin_hub(repositories={"org/Small-GGUF": files}) as hub:
        hub.piece_delay = 0.01
        process = serve("hf.co/org/Small-GGUF", tmp_path, hub.url, port)
        blobs = tmp_path / ".cache/huggingface/hub/models--org--Small-GGUF/blobs"
        deadline = time.monotonic() + 60
        while not any(file.stat().st_size > 1_000_000 for file in blobs.glob("*.incomplete")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 204, "the door is open meanwhile"
        start = httpx.get(f"http://127.0.0.1:{port}/startupz")
        assert (start.status_code, start.json()["phase"]) == (503, "downloading")
        assert start.json()["progress"]["done"] < start.json()["progress"]["total"]
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "so it is served by llamacpp" in log
        assert "does not count" not in log
        assert "using Q4_K_M; it also has Q8_0" in log
        assert "stopping: llamacpp had not finished loading" in log
        assert log.rstrip().endswith("stopped")
        assert not list(tmp_path.rglob("*.gguf"))

        hub.piece_delay = 0
        process = serve("org/Small-GGUF", tmp_path, hub.url, port)
        try:
            until_ready(port, process)
            body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
            answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=60).json()
            assert answer["model"] == "org/Small-GGUF"
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert hub.ranges["Small-Q4_K_M.gguf"][-1].startswith("bytes=")
