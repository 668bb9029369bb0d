"""The workers that the emulator starts itself: their environment, and their processes, which end with the emulator."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from engineroom.process import reaper

from .load_balancer import BalancedWorker, LoadBalancer
from .options import EndpointOptions
from .platform import Emulator
from .workers import ConnectedWorker


class WorkerProcesses:
    """Starts workers, replaces those whose results ask for it, and ends them all.

    Use it as an async context manager; leaving the block ends every worker: SIGTERM, `grace` seconds, SIGKILL,
    then whatever they started. The reaper does the same if this process is killed.

    Args:
        url: the emulator's.
        command: what to run.
        grace: seconds between SIGTERM and SIGKILL.
        report: called with a line of text at every start, end and first poll.
        balancer: where the endpoint is a load-balancing one, gets the workers, each on a port of its own.
    """

    def __init__(
        self,
        emulator: Emulator,
        url: str,
        command: Sequence[str],
        grace: float,
        report: Callable[[str], None],
        balancer: LoadBalancer | None = None,
    ) -> None:
        self._emulator = emulator
        self._url = url
        self._command = command
        self._grace = grace
        self._report = report
        self._balancer = balancer
        self._pipes: dict[str, int] = {}
        """Each running worker's end of the pipe to its reaper; closing it ends the worker."""
        self._started: dict[str, float] = {}
        """When each worker was started that has not polled yet."""
        self._tasks: set[asyncio.Task[int]] = set()
        emulator.on_first_poll.append(self._report_ready)
        emulator.on_stop_pod = self._replace
        emulator.on_finished.append(lambda job: self._replace_idle())

    async def __aenter__(self) -> WorkerProcesses:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for worker_id in list(self._pipes):
            self._end(worker_id)
        self._emulator.end_polls()
        await asyncio.gather(*self._tasks)

    def start(self) -> None:
        """Start one more worker."""
        worker_id = new_worker_id()
        self._emulator.workers.get_or_add(worker_id)
        self._started[worker_id] = time.monotonic()
        self._tasks.add(asyncio.create_task(self._run(worker_id)))

    async def wait(self) -> int:
        """Wait until no worker is left; the exit code of the first that failed, else 0."""
        failure = 0
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            # A worker that was replaced has started another meanwhile, which `_` does not have.
            self._tasks -= done
            codes = [task.result() for task in done if task.result() != 0]
            if codes and failure == 0:
                failure = codes[0]
        return failure

    async def _run(self, worker_id: str) -> int:
        """Run one worker to its end; its exit code, 128 + N for a signal, or 0 if the emulator ended it."""
        reaper_pipe, self._pipes[worker_id] = os.pipe()
        environ = self._environment(worker_id)
        # The command `engineroom` is found although nobody activated its virtual environment.
        environ["PATH"] = os.pathsep.join((os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)))
        arguments = ["-I", reaper.__file__, str(reaper_pipe), str(self._grace), "--", *self._command]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                env={**OFF_PLATFORM, **os.environ, **environ},
                pass_fds=(reaper_pipe,),
                start_new_session=True,
            )
        finally:
            os.close(reaper_pipe)
        code = await process.wait()
        ended_by_us = worker_id not in self._pipes
        self._end(worker_id)
        if self._balancer is not None:
            self._balancer.remove(worker_id)
        self._emulator.workers.remove(worker_id, f"its process ended with {describe_exit(code)}")
        self._report(f"worker {worker_id} ended with {describe_exit(code)}")
        return 0 if ended_by_us else code

    def _environment(self, worker_id: str) -> dict[str, str]:
        """The variables for a worker; on a load-balancing endpoint that is entered there with a free port."""
        if self._balancer is None:
            return worker_environment(self._url, self._emulator.options, worker_id)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        health = os.environ.get("HEALTH_CHECK_PATH", "/ping")
        self._balancer.add(BalancedWorker(worker_id, url, url + health))
        return {
            "RUNPOD_ENDPOINT_ID": self._emulator.options.endpoint_id,
            "RUNPOD_POD_ID": worker_id,
            "PORT": str(port),
            "PORT_HEALTH": str(port),
        }

    def _end(self, worker_id: str) -> None:
        pipe = self._pipes.pop(worker_id, None)
        if pipe is not None:
            reaper.ask(pipe, reaper.STOP)

    def _report_ready(self, worker: ConnectedWorker) -> None:
        started = self._started.pop(worker.id, None)
        if started is not None:
            self._report(f"worker {worker.id} takes jobs, {time.monotonic() - started:.1f} s after its start")

    def _replace(self, worker_id: str) -> None:
        """Replace a worker as soon as it has no more jobs."""
        worker = self._emulator.workers.by_id.get(worker_id)
        if worker is not None:
            worker.stopping = True
            self._replace_idle()

    def _replace_idle(self) -> None:
        for worker in list(self._emulator.workers.by_id.values()):
            if worker.stopping and not worker.jobs and worker.id in self._pipes:
                self._report(f"worker {worker.id} asked to be replaced (stopPod)")
                self._end(worker.id)
                self.start()


def describe_exit(code: int) -> str:
    """An exit code of the reaper in words."""
    if code == reaper.NOT_STARTED:
        return "code 127: the command cannot be run"
    if code > 128:
        try:
            return signal.Signals(code - 128).name
        except ValueError:
            return f"code {code}"
    return f"code {code}"


GPU = "Emulated+GPU"

OFF_PLATFORM = {
    "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
    "RUNPOD_SKIP_GPU_CHECK": "true",
}
"""Set beside the platform's variables, unless the user has set them: the SDK's fitness checks want the platform's
machine and the internet."""


def worker_environment(url: str, options: EndpointOptions, worker_id: str | None = None) -> dict[str, str]:
    """The variables that the platform sets, with its placeholders, for one worker.

    `$ID` and `$RUNPOD_POD_ID` are left for the SDK to fill in, as the platform leaves them. Every URL carries a
    query, since the SDK appends to it.

    Args:
        url: the emulator's, `http://host:port`.
        options: the endpoint's.
        worker_id: the pod's id; a new one by default.
    """
    worker_id = worker_id or new_worker_id()
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


def new_worker_id() -> str:
    """An id such as the platform gives its pods."""
    return uuid4().hex[:14]
