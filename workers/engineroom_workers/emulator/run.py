"""`engineroom emulate` as a program: it serves the platform, starts the workers, and ends both."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import socket
from typing import NamedTuple

import click
import uvloop

from .banner import banner
from .faults import Faults
from .jobs import Job
from .load_balancer import LoadBalancer
from .management.programs import Programs
from .options import EndpointOptions
from .platform import Emulator
from .platform_server import serving_platform
from .server import listen, serving
from .worker_processes import WorkerProcesses

COLOURS = {"COMPLETED": "green", "FAILED": "red", "TIMED_OUT": "red"}


class EmulatorRun(NamedTuple):
    """One run of the command, with what its command line asks for.

    command: what to start as a worker; empty if the user starts workers elsewhere.
    workers: how many to start.
    grace: seconds that a worker has between SIGTERM and SIGKILL.
    quiet: whether to print nothing about finished jobs.
    load_balancing: whether the endpoint is a load-balancing one instead of a queue.
    images: patterns of images that are not this project's, and the command that stands for each.
    """

    options: EndpointOptions
    faults: Faults
    host: str
    port: int
    command: tuple[str, ...]
    workers: int
    grace: float
    quiet: bool
    load_balancing: bool = False
    images: tuple[tuple[str, str], ...] = ()


def run(this: EmulatorRun) -> int:
    """Run until a signal arrives or no worker is left; the exit code.

    Raises:
        click.ClickException: the address cannot be listened on.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    return int(uvloop.run(_run(this)))


async def _run(this: EmulatorRun) -> int:
    stop_requested = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    emulator = Emulator(this.options, this.faults)
    if not this.quiet:
        emulator.on_finished.append(lambda job: report(summary(job)))
    try:
        listener = listen(this.host, this.port)
    except OSError as error:
        # Errors of name resolution have negative numbers, which are not the operating system's.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise click.ClickException(f"cannot listen on {this.host}:{this.port}: {reason}") from error
    if this.load_balancing:
        return await _run_load_balancing(this, emulator, listener, stop_requested)
    programs = Programs(this.images)
    async with serving_platform(emulator, listener, programs, this.grace, report) as platform:
        click.echo(banner(platform.url, this.options, this.faults, this.command, this.workers))
        if this.command:
            return await _run_workers(this, emulator, platform.url, stop_requested)
        await stop_requested.wait()
        report("ending")
        return 0


async def _run_load_balancing(
    this: EmulatorRun, emulator: Emulator, listener: socket.socket, stop_requested: asyncio.Event
) -> int:
    balancer = LoadBalancer(this.options.api_key)
    watching = asyncio.create_task(balancer.watch())
    try:
        async with serving(emulator, listener, balancer) as url:
            report(f"a load-balancing endpoint at {url}, with {this.workers} x {shlex.join(this.command)}")
            return await _run_workers(this, emulator, url, stop_requested, balancer)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _run_workers(
    this: EmulatorRun,
    emulator: Emulator,
    url: str,
    stop_requested: asyncio.Event,
    balancer: LoadBalancer | None = None,
) -> int:
    """Run the workers until a signal arrives or none is left; the exit code."""
    async with WorkerProcesses(emulator, url, this.command, this.grace, report, balancer) as processes:
        for _ in range(this.workers):
            processes.start()
        all_ended = asyncio.create_task(processes.wait())
        stop = asyncio.create_task(stop_requested.wait())
        try:
            await asyncio.wait((all_ended, stop), return_when=asyncio.FIRST_COMPLETED)
            if all_ended.done():
                return all_ended.result()
            report("ending")
            return 0
        finally:
            all_ended.cancel()
            stop.cancel()


def report(text: str) -> None:
    """Print a line as the emulator's own, apart from its workers'."""
    click.echo(f"{click.style('emulator', fg='magenta')} {text}")


def summary(job: Job) -> str:
    """One line on a finished job."""
    state = job.for_client()
    times = [
        f"{name} {state[key]} ms" for name, key in (("queued", "delayTime"), ("ran", "executionTime")) if key in state
    ]
    status = click.style(job.status, fg=COLOURS.get(job.status, "yellow"))
    return f"{job.id} {status}  {', '.join(times) or 'never taken'}, {len(job.arrivals)} chunks, {job.bytes} bytes"
