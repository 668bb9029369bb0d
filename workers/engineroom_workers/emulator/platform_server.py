"""The whole platform behind a listening socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from .management.account import Account
from .management.catalog import Catalog
from .management.hosts import LocalHost
from .management.programs import Programs
from .management.recorded_catalog import recorded_catalog
from .platform import Emulator
from .platform_app import PlatformApp
from .server import serving, url_of


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    """A served platform.

    url: `http://host:port`, which RUNPOD_API_URL takes.
    emulator: the endpoint for workers of one's own.
    account: what the management API creates.
    """

    url: str
    emulator: Emulator
    account: Account


@contextlib.asynccontextmanager
async def serving_platform(
    emulator: Emulator,
    listener: socket.socket,
    programs: Programs,
    grace: float,
    report: Callable[[str], None],
    catalog: Catalog | None = None,
) -> AsyncIterator[RunningPlatform]:
    """Serve the platform in the running loop; at the end everything that it started has ended.

    Args:
        emulator: the endpoint for workers of one's own; new endpoints get its options and faults.
        grace: seconds that a container has between SIGTERM and SIGKILL.
        report: called with a line of text at everything that happens.
        catalog: what can be rented; by default the recorded catalogue.
    """
    host = LocalHost(grace)
    account = Account(
        url_of(listener),
        host,
        catalog or recorded_catalog(),
        programs,
        emulator.options,
        emulator.faults,
        report,
        emulator.notify_finished,
    )
    async with serving(emulator, listener, PlatformApp(emulator, account)) as url:
        watching = asyncio.create_task(account.watch())
        try:
            yield RunningPlatform(url, emulator, account)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            account.close()
            await host.close()
            account.remove_folders()
