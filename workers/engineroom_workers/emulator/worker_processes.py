"""The workers that the emulator starts itself: their environment, and their processes, which end with the emulator."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from .load_balancer import BalancedWorker, LoadBalancer
from .platform import Emulator
from .reaped_process import ReapedProcess, describe_exit
from .worker_environment import OFF_PLATFORM, free_port, new_worker_id, search_path, worker_environment
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
        self._running: dict[str, ReapedProcess] = {}
        """The process of each worker that has not ended."""
        self._started: dict[str, float] = {}
        """When each worker was started that has not polled yet."""
        self._tasks: set[asyncio.Task[int]] = set()
        emulator.on_first_poll.append(self._report_ready)
        emulator.on_stop_pod = self._replace
        emulator.on_finished.append(lambda job: self._replace_idle())

    async def __aenter__(self) -> WorkerProcesses:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for process in list(self._running.values()):
            process.end()
        self._emulator.end_polls()
        await asyncio.gather(*self._tasks)

    def start(self) -> None:
        """Start one more worker."""
        worker_id = new_worker_id()
        self._emulator.workers.get_or_add(worker_id)
        self._started[worker_id] = time.monotonic()
        environ = {**OFF_PLATFORM, **os.environ, **self._environment(worker_id), "PATH": search_path()}
        process = ReapedProcess(self._command, environ, self._grace)
        self._running[worker_id] = process
        self._tasks.add(asyncio.create_task(self._run(worker_id, process)))

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

    async def _run(self, worker_id: str, process: ReapedProcess) -> int:
        """Run one worker to its end; its exit code, 128 + N for a signal, or 0 if the emulator ended it."""
        code = await process.run()
        del self._running[worker_id]
        if self._balancer is not None:
            self._balancer.remove(worker_id)
        self._emulator.workers.remove(worker_id, f"its process ended with {describe_exit(code)}")
        self._report(f"worker {worker_id} ended with {describe_exit(code)}")
        return 0 if process.ended_by_us else code

    def _environment(self, worker_id: str) -> dict[str, str]:
        """The variables for a worker; on a load-balancing endpoint that is entered there with a free port."""
        if self._balancer is None:
            return worker_environment(self._url, self._emulator.options, worker_id)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        health = os.environ.get("HEALTH_CHECK_PATH", "/ping")
        self._balancer.add(BalancedWorker(worker_id, url, url + health))
        return {
            "RUNPOD_ENDPOINT_ID": self._emulator.options.endpoint_id,
            "RUNPOD_POD_ID": worker_id,
            "PORT": str(port),
            "PORT_HEALTH": str(port),
        }

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
            process = self._running.get(worker.id)
            if worker.stopping and not worker.jobs and process is not None and not process.ended_by_us:
                self._report(f"worker {worker.id} asked to be replaced (stopPod)")
                process.end()
                self.start()
