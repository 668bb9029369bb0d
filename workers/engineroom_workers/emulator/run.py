"""The emulator as a program: serve, start the workers, say what happens, end it all."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import NamedTuple

import click
import uvloop

from .banner import banner
from .faults import Faults
from .jobs import Job
from .platform import Emulator, Options
from .server import listen, serving
from .worker_processes import Crew


class Plan(NamedTuple):
    """What the command line asked for."""

    options: Options
    faults: Faults
    host: str
    port: int
    command: tuple[str, ...]
    workers: int
    grace: float
    quiet: bool


def run(plan: Plan) -> int:
    """Run until a signal, or until no worker is left; the exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    return int(uvloop.run(_run(plan)))


async def _run(plan: Plan) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    emulator = Emulator(plan.options, plan.faults)
    if not plan.quiet:
        emulator.on_finished.append(lambda job: say(summary(job)))
    try:
        listener = listen(plan.host, plan.port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise click.ClickException(f"cannot listen on {plan.host}:{plan.port}: {reason}") from error
    async with serving(emulator, listener) as url:
        click.echo(banner(url, plan.options, plan.faults, plan.command, plan.workers))
        return await _until_the_end(plan, emulator, url, stopped)


async def _until_the_end(plan: Plan, emulator: Emulator, url: str, stopped: asyncio.Event) -> int:
    if not plan.command:
        await stopped.wait()
        return 0
    async with Crew(emulator, url, plan.command, plan.grace, say) as crew:
        for _ in range(plan.workers):
            crew.start()
        left = asyncio.create_task(crew.wait())
        stop = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait((left, stop), return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                return left.result()
            say("ending")
            return 0
        finally:
            left.cancel()
            stop.cancel()


def say(text: str) -> None:
    click.echo(f"{click.style('emulator', fg='magenta')} {text}")


def summary(job: Job) -> str:
    """One line on a finished job."""
    colour = {"COMPLETED": "green", "FAILED": "red", "TIMED_OUT": "red"}.get(job.status, "yellow")
    state = job.for_client()
    times = ", ".join(
        f"{name} {state[key]} ms" for name, key in (("queued", "delayTime"), ("ran", "executionTime")) if key in state
    )
    sent = f"{len(job.arrivals)} chunks, {job.bytes} bytes"
    return f"{job.id} {click.style(job.status, fg=colour)}  {times or 'never taken'}, {sent}"
