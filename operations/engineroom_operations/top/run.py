"""A run of `engineroom top`: looks at all targets at a time, again and again, and shows them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.live import Live

from engineroom.runpod_account import RunPodAccount
from engineroom.settings import Environment
from engineroom.timeouts import timeout

from ..runpod_api.client import RunPodClient
from ..scraping.vocabulary import MetricVocabulary
from ..targets.address import is_loopback
from ..targets.connection import open_session
from ..targets.target import RemoteTarget
from .balanced import BalancedMonitor
from .endpoint_workers import EndpointWorkersMonitor
from .figures import line
from .history import TrendHistory
from .keys import watched_keys
from .queue import QueueMonitor
from .reading import Reading
from .screen import screen
from .server import ServerMonitor

_LONGEST_LOOK_S = 10


class TopRun(NamedTuple):
    """What the command line asks for.

    interval_s: seconds between two looks.
    once: whether to end after the first figures that need two looks.
    as_json: a line of JSON for each target and look.
    wake: whether workers behind a balancer are asked for their metrics, by which RunPod keeps them running.
    """

    targets: Sequence[RemoteTarget]
    interval_s: float
    once: bool
    as_json: bool
    wake: bool


class Monitor(Protocol):
    """Looks at one target."""

    async def look(self) -> Reading:
        """The target as it is now; never raises for what a target does."""


async def run(wanted: TopRun, env: Environment) -> int:
    """Look until Ctrl-C or `q`; the exit code: with --once 1 where a target is not up."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        monitors = [await _monitor(target, wanted, env, stack) for target in wanted.targets]
        try:
            return await _show(monitors, wanted, stop)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


async def _monitor(target: RemoteTarget, wanted: TopRun, env: Environment, stack: contextlib.AsyncExitStack) -> Monitor:
    look_s = min(_LONGEST_LOOK_S, max(2.0, wanted.interval_s))
    session = await stack.enter_async_context(open_session(target, silence_s=look_s))
    if target.address.kind == "queue":
        return QueueMonitor(target, session, await _workers(target, env, stack), look_s)
    server = ServerMonitor(target, session, MetricVocabulary.installed(env), look_s)
    if target.address.kind == "load-balancer":
        return BalancedMonitor(target, await _workers(target, env, stack), server if wanted.wake else None)
    return server


async def _workers(
    target: RemoteTarget, env: Environment, stack: contextlib.AsyncExitStack
) -> EndpointWorkersMonitor | None:
    """What asks RunPod's management API for an endpoint's workers; None where there is no key, or the API is another's.

    An emulator's endpoint is not RunPod's: its workers are asked for only where RUNPOD_API_URL names an emulator, too.
    """
    account = RunPodAccount.load(env)
    if account.runpod_api_key is None or target.address.on_loopback != is_loopback(account.runpod_api_url):
        return None
    api = await stack.enter_async_context(RunPodClient(account))
    return EndpointWorkersMonitor(api, target.address.runpod_id)


async def _show(monitors: Sequence[Monitor], wanted: TopRun, stop: asyncio.Event) -> int:
    console = Console(highlight=False)
    if wanted.once:
        await _look(monitors)
        await _pause(wanted.interval_s, stop)
        readings = await _look(monitors)
        _print_once(readings, wanted, console)
        return 0 if all(reading.state == "up" for reading in readings) else 1
    if wanted.as_json or not console.is_terminal:
        while not stop.is_set():
            began = time.monotonic()
            for reading in await _look(monitors):
                sys.stdout.write(_json(reading) if wanted.as_json else _line(reading))
            sys.stdout.flush()
            await _pause(wanted.interval_s - (time.monotonic() - began), stop)
        return 0
    await _live(monitors, wanted, stop, console)
    return 0


async def _live(monitors: Sequence[Monitor], wanted: TopRun, stop: asyncio.Event, console: Console) -> None:
    history = [TrendHistory() for _ in monitors]
    with (
        Live(console=console, screen=True, auto_refresh=False) as live,
        watched_keys(stop.set),
    ):
        while not stop.is_set():
            began = time.monotonic()
            readings = await _look(monitors)
            for trends, reading in zip(history, readings, strict=True):
                trends.add(reading)
            footer = f"{time.strftime('%H:%M:%S')}  every {wanted.interval_s:g} s  q ends"
            live.update(screen(readings, history, console, footer), refresh=True)
            await _pause(wanted.interval_s - (time.monotonic() - began), stop)


async def _look(monitors: Sequence[Monitor]) -> list[Reading]:
    """All targets at a time, so that one that hangs delays the others by no more than its time-out."""
    return list(await asyncio.gather(*(monitor.look() for monitor in monitors)))


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        async with timeout(max(0.05, seconds)):
            await stop.wait()


def _print_once(readings: Sequence[Reading], wanted: TopRun, console: Console) -> None:
    if wanted.as_json:
        sys.stdout.writelines(_json(reading) for reading in readings)
    elif console.is_terminal:
        console.print(screen(readings, [TrendHistory() for _ in readings], console))
    else:
        sys.stdout.writelines(_line(reading) for reading in readings)
    sys.stdout.flush()


def _line(reading: Reading) -> str:
    return f"{time.strftime('%H:%M:%S')} {reading.name}: {line(reading)}\n"


def _json(reading: Reading) -> str:
    return json.dumps(reading.as_json()) + "\n"
