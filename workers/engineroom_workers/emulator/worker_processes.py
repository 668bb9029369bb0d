"""The workers that the emulator starts itself: one process each, under the reaper, ended with the emulator."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from engineroom.process import reaper

from .platform import Emulator, Options
from .workers import Worker


class Crew:
    """Starts workers, replaces those whose results ask for it, and ends them all.

    Use it as an async context manager; leaving the block ends every worker: SIGTERM, `grace` seconds, SIGKILL,
    then whatever they started. The reaper does the same should this process be killed.

    Args:
        command: what to run.
        url: the emulator's.
        grace: seconds between SIGTERM and SIGKILL.
        say: is told of every start, end and readiness.
    """

    def __init__(
        self, emulator: Emulator, url: str, command: Sequence[str], grace: float, say: Callable[[str], None]
    ) -> None:
        self._emulator = emulator
        self._url = url
        self._command = command
        self._grace = grace
        self._say = say
        self._pipes: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._tasks: set[asyncio.Task[int]] = set()
        emulator.on_ready.append(self._ready)
        emulator.on_stop_pod = self._replace
        emulator.on_finished.append(lambda job: self._replace_idle())

    async def __aenter__(self) -> Crew:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for worker_id in list(self._pipes):
            self._end(worker_id)
        await asyncio.gather(*self._tasks)

    def start(self) -> None:
        """Start one more worker."""
        worker_id = uuid4().hex[:14]
        self._emulator.fleet.known(worker_id)
        self._started[worker_id] = time.monotonic()
        task = asyncio.create_task(self._run(worker_id))
        self._tasks.add(task)

    async def wait(self) -> int:
        """Wait until no worker is left; the exit code of the first that failed, else 0."""
        failed = 0
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            self._tasks -= done
            failed = failed or next((task.result() for task in done if task.result()), 0)
        return failed

    async def _run(self, worker_id: str) -> int:
        """Run one worker to its end; its exit code, 128 + N for a signal."""
        theirs, self._pipes[worker_id] = os.pipe()
        environ = worker_environment(self._url, self._emulator.options, worker_id)
        # So that `engineroom` is found although its virtual environment was not activated.
        environ["PATH"] = os.pathsep.join((os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)))
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", reaper.__file__, str(theirs), str(self._grace), "--", *self._command),
                stdin=asyncio.subprocess.DEVNULL,
                env={**OFF_PLATFORM, **os.environ, **environ},
                pass_fds=(theirs,),
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        code = await process.wait()
        asked = worker_id not in self._pipes
        self._end(worker_id)
        self._emulator.fleet.lose(worker_id, f"its process ended with {describe(code)}")
        self._say(f"worker {worker_id} ended with {describe(code)}")
        return 0 if asked else code

    def _end(self, worker_id: str) -> None:
        if (pipe := self._pipes.pop(worker_id, None)) is not None:
            os.close(pipe)

    def _ready(self, worker: Worker) -> None:
        if started := self._started.pop(worker.id, None):
            self._say(f"worker {worker.id} takes jobs, {time.monotonic() - started:.1f} s after its start")

    def _replace(self, worker_id: str) -> None:
        if worker := self._emulator.fleet.workers.get(worker_id):
            worker.stopping = True
            self._replace_idle()

    def _replace_idle(self) -> None:
        for worker in list(self._emulator.fleet.workers.values()):
            if worker.stopping and not worker.jobs and worker.id in self._pipes:
                self._say(f"worker {worker.id} asked to be replaced (stopPod)")
                self._end(worker.id)
                self.start()


def describe(code: int) -> str:
    """An exit code in words."""
    if code == reaper.NOT_STARTED:
        return "code 127: the command cannot be run"
    if code > 128:
        name = next((number.name for number in signal.Signals if number == code - 128), None)
        return name or f"code {code}"
    return f"code {code}"


GPU = "Emulated+GPU"


def worker_environment(url: str, options: Options, worker_id: str | None = None) -> dict[str, str]:
    """The variables that the platform sets, with its placeholders, for one worker.

    `$ID` and `$RUNPOD_POD_ID` are left for the SDK to fill in, as the platform leaves them. Every URL carries a
    query, since the SDK appends to it.

    Args:
        url: the emulator's, `http://host:port`.
        options: of the emulator.
        worker_id: the pod's id; a new one by default.
    """
    worker_id = worker_id or uuid4().hex[:14]
    base = f"{url}/v2/{options.endpoint_id}"
    return {
        "RUNPOD_ENDPOINT_ID": options.endpoint_id,
        "RUNPOD_POD_ID": worker_id,
        "RUNPOD_POD_HOSTNAME": f"{worker_id}-emulated",
        "RUNPOD_AI_API_KEY": options.api_key or "emulated",
        "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu={GPU}",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu={GPU}",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu={GPU}",
        "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu={GPU}",
        "RUNPOD_PING_INTERVAL": str(round(options.ping_interval * 1000)),
        "RUNPOD_ENDPOINT_BASE_URL": f"{url}/v2",
    }


OFF_PLATFORM = {
    "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
    "RUNPOD_SKIP_GPU_CHECK": "true",
}
"""Set beside them unless the user has: the SDK's fitness checks want the platform's machine and the internet."""
