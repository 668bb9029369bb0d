"""Which of our files one request runs through: `make request-path`.

The echo engine is started behind a real door in this process, with default settings, as a user starts it; a client in
a thread sends it requests over a real socket (for the RunPod door, over the emulated platform). One request of a kind
warms it up, so that nothing is imported any more; the next one is traced with `sys.setprofile`.

What counts: the files of `common/` and `workers/` of which any function, method or generator runs in the door's
threads between the arrival of the request and the end of all that its response leaves behind (counting it, logging
it). A file is listed where it is first entered. The engine's own files are listed beside them and do not count, nor
does the emulator, which is the other side of the wire. What also runs while there is no request does not count
either: each list leaves out files that were entered in as long a time of rest.

    python tools/request_path.py                every kind of request, each door in a process of its own
    python tools/request_path.py --json http    one door's lists, as JSON: {kind: {"files": […], "engine": […]}}

It counts the sources that the Python that runs it has installed, so another checkout is counted by its own:
`../old/.venv/bin/python tools/request_path.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

LOOK_S = 1.5
"""Longer than the time between two looks of the engine's watchdog, which is there whether anybody asks or not."""
REST_S = 0.4
"""How long a door may take after a response, which is also how long it is watched at rest."""

DOORS = {"http": "serve", "runpod": "runpod"}
"""Doors, and the command that starts each."""


class EntryRecorder:
    """A profile function that notes each file of ours at its first entry, while it records."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prefixes = tuple(f"{root / folder}/" for folder in ("common", "workers", "engines"))
        self._entered: dict[str, None] | None = None

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and self._entered is not None:
            filename = frame.f_code.co_filename
            if filename.startswith(self._prefixes):
                self._entered.setdefault(filename)

    @contextmanager
    def recording(self) -> Iterator[list[str]]:
        """The files entered inside the block and for a while after it, as paths in the repository, once it is left."""
        entered: dict[str, None] = {}
        names: list[str] = []
        self._entered = entered
        try:
            yield names
            time.sleep(REST_S)
        finally:
            self._entered = None
        names.extend(str(Path(filename).relative_to(self._root)) for filename in entered)


def traced(recorder: EntryRecorder, kinds: dict[str, Callable[[], None]]) -> dict[str, dict[str, list[str]]]:
    """The files that each kind of request enters: `files` of the core and the doors, `engine` of the engine.

    Args:
        kinds: sends one request of a kind and reads its response.
    """
    paths = {}
    for kind, send in kinds.items():
        send()
        time.sleep(REST_S)
        with recorder.recording() as resting:
            time.sleep(LOOK_S)
        with recorder.recording() as entered:
            send()
        ours = [name for name in entered if name not in resting and "/emulator/" not in name]
        paths[kind] = {
            "files": [name for name in ours if not name.startswith("engines/")],
            "engine": [name for name in ours if name.startswith("engines/")],
        }
    return paths


def chat(stream: bool) -> bytes:
    """A chat request's body."""
    messages = [{"role": "user", "content": "one two three"}]
    return json.dumps({"model": "echo", "messages": messages, "stream": stream}).encode()


def call(port: int, path: str, body: bytes | None = None, wanted: int = 200) -> bytes:
    """The body of a response that has the wanted status.

    Raises:
        OSError: nobody answers.
        RuntimeError: it has another status.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        method = "GET" if body is None else "POST"
        connection.request(method, path, body, {"Content-Type": "application/json", "Authorization": "Bearer any"})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != wanted:
        raise RuntimeError(f"{path} answered {response.status}: {content.decode(errors='replace')[:300]}")
    return content


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def http_client(port: int) -> dict[str, Callable[[], None]]:
    """The kinds of request at the HTTP door, once it is ready."""
    deadline = time.monotonic() + 60
    while True:
        try:
            call(port, "/ping")
            break
        except (OSError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    return {
        "chat": lambda: checked(call(port, "/v1/chat/completions", chat(stream=False))),
        "chat, streamed": lambda: checked(call(port, "/v1/chat/completions", chat(stream=True))),
    }


def runpod_client(port: int, endpoint_id: str) -> dict[str, Callable[[], None]]:
    """The kinds of job at the RunPod door, through the platform's client side."""
    native = json.dumps({"input": {"prompt": "one two three", "stream": True}}).encode()

    def stream_native() -> None:
        job_id = json.loads(call(port, f"/v2/{endpoint_id}/run", native))["id"]
        status, content = "", b""
        while status not in ("COMPLETED", "FAILED"):
            answer = call(port, f"/v2/{endpoint_id}/stream/{job_id}")
            status, content = json.loads(answer)["status"], content + answer
        checked(content, b"COMPLETED")

    openai = f"/v2/{endpoint_id}/openai/v1/chat/completions"
    return {
        "RunPod stream, OpenAI's route": lambda: checked(call(port, openai, chat(stream=True)), b"[DONE]"),
        "RunPod stream, a native job": stream_native,
    }


def checked(content: bytes, end: bytes = b'"finish_reason":"stop"') -> None:
    """Look whether a whole response has come.

    Args:
        end: what only a whole one has.

    Raises:
        RuntimeError: an error is in it, or its end is not.
    """
    if end not in content or b'"error"' in content:
        raise RuntimeError(f"not an answer: {content.decode(errors='replace')[:300]}")


def emulate(started: Callable[[int, str, dict[str, str]], None]) -> None:
    """Serve an emulated platform for ever, and call `started` with its port, endpoint and a worker's environment."""
    from engineroom_workers.emulator.testing import running_emulator

    async def run() -> None:
        async with running_emulator(hold=30) as platform:
            started(int(platform.url.rpartition(":")[2]), platform.endpoint_id, platform.worker_environment())
            await asyncio.Event().wait()

    asyncio.run(run())


def trace_door(door: str) -> dict[str, dict[str, list[str]]]:
    """Run a door in this process until its requests are traced.

    Raises:
        RuntimeError: a request failed, or the door ended before all were traced.
    """
    spec = importlib.util.find_spec("engineroom")
    assert spec is not None
    assert spec.origin is not None
    recorder = EntryRecorder(Path(spec.origin).resolve().parents[2])
    results: list[dict[str, dict[str, list[str]]]] = []
    failures: list[Exception] = []
    for name in [name for name in os.environ if name.startswith("RUNPOD_")]:
        del os.environ[name]
    os.environ["ENGINE"] = "echo"

    def run_client(connect: Callable[[], dict[str, Callable[[], None]]]) -> None:
        try:
            results.append(traced(recorder, connect()))
        except Exception as error:
            failures.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    if door == "http":
        port = free_port()
        os.environ |= {"PORT": str(port), "HOST": "127.0.0.1"}
        connect = partial(http_client, port)
    else:
        ready = threading.Event()
        endpoint_ids: list[str] = []
        ports: list[int] = []

        def started(port: int, endpoint_id: str, environ: dict[str, str]) -> None:
            ports.append(port)
            endpoint_ids.append(endpoint_id)
            os.environ.update(environ)
            ready.set()

        threading.Thread(target=emulate, args=(started,), daemon=True).start()
        if not ready.wait(60):
            raise RuntimeError("the emulator did not start")
        connect = partial(runpod_client, ports[0], endpoint_ids[0])

    # Both threads so far are the other side of the wire: the profile is only this thread's, and of those it starts.
    threading.Thread(target=run_client, args=(connect,), daemon=True).start()
    from engineroom.cli import main as command_line

    sys.argv = ["engineroom", DOORS[door]]
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        command_line()
    except SystemExit as end:
        if not results and not failures:
            failures.append(RuntimeError(f"the door ended with {end.code} before its requests were traced"))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    if failures:
        raise failures[0]
    return results[0]


def paths(door: str) -> dict[str, dict[str, list[str]]]:
    """The lists of one door, which runs in a process of its own."""
    result = subprocess.run([sys.executable, __file__, "--json", door], capture_output=True, text=True, timeout=180)
    if result.returncode:
        raise RuntimeError(f"the {door} door could not be traced:\n{result.stderr[-2000:]}")
    lists: dict[str, dict[str, list[str]]] = json.loads(result.stdout.splitlines()[-1])
    return lists


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("doors", nargs="*", help=f"{', '.join(DOORS)}; all by default")
    parser.add_argument("--json", action="store_true", help="one door's lists, traced in this process")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(trace_door(options.doors[0])))
        return
    for door in options.doors or DOORS:
        for kind, lists in paths(door).items():
            print(f"{kind}: {len(lists['files'])} files, and {len(lists['engine'])} of the engine")
            for number, name in enumerate(lists["files"], 1):
                print(f"  {number:2} {name}")
            for name in lists["engine"]:
                print(f"   · {name}")


if __name__ == "__main__":
    main()
