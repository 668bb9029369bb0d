"""`engineroom runpod`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from threading import Thread
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from engineroom.commands.setting_options import SettingsCommand
from engineroom.errors import EngineroomError

from ..arguments import as_settings, takes_model

if TYPE_CHECKING:
    from engineroom.engine import RunningEngine
    from engineroom.plugins import Setup
    from engineroom.settings import Environment, NameCheck, WorkerSettings

    from .settings import RunPodSettings


logger = logging.getLogger(__name__)


class QueueCommand(SettingsCommand):
    """A command whose wrong arguments are told to the platform, too: a template's command line is seldom seen."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if not ctx.resilient_parsing:
                tell(error)
            raise


@click.command(cls=QueueCommand)
@takes_model
def runpod(settings: Mapping[str, str] = MappingProxyType({}), **options: str | None) -> None:
    """Process the jobs of a RunPod serverless queue.

    MODEL is a file, a folder, or a repository of the Hugging Face Hub, which is downloaded if it is not here. An engine
    that can serve it is taken, unless ENGINE names one.

    This is the command of a RunPod worker; to try it on this machine: `engineroom emulate -- engineroom runpod`. On
    SIGTERM running jobs have DRAIN_TIMEOUT seconds to finish, and no job is lost. If the engine dies, the exit code
    is 1, so that the platform replaces the worker. If it cannot start, jobs fail with the reason for
    FAILED_START_TIMEOUT seconds.

    Every setting is an option, too: --max-model-len 4096 is MAX_MODEL_LEN=4096. `engineroom config --all` lists them.
    """
    from engineroom.settings import Environment

    try:
        env = Environment.load().with_arguments(as_settings(options, settings))
    except (EngineroomError, click.UsageError) as error:
        tell(error)
        raise
    sys.exit(work(env))


def work(env: Environment) -> int:
    """Run a worker with these settings; the exit code. What keeps it from starting is told to the platform.

    Raises:
        EngineroomError: the settings are wrong, or the engine could not be started.
    """
    try:
        return _work(env)
    except Exception as error:
        tell(error, env)
        raise


def tell(error: Exception, env: Environment | None = None, *, answer: bool = True) -> None:
    """Tell the platform of a failed start, and the clients of jobs for FAILED_START_TIMEOUT.

    Args:
        env: the settings; the process environment alone where they could not be read.
        answer: whether jobs are failed. Not where another machine might do better.
    """
    from engineroom.errors import Problems
    from engineroom.settings import Environment

    from .failed_start import tell as tell_platform
    from .settings import RunPodSettings

    settings = env if env is not None else Environment.of(os.environ)
    seconds = RunPodSettings.load_valid(settings, Problems()).failed_start_timeout
    tell_platform(error, settings, seconds if answer else 0)


def _work(env: Environment) -> int:
    from engineroom import logs, plugins
    from engineroom.errors import EngineStartError
    from engineroom.timeline import process_age

    from ..extras import need
    from . import sdk

    began = process_age()
    logs.configure_before(env)
    # It waits for the disk, mostly: the certificates of the authorities are read.
    Thread(target=_import_http_client, daemon=True).start()
    setup = plugins.set_up(env, _load_settings, door="runpod")
    logs.configure(setup.worker)
    setup.log_notes()
    _check_on_runpod(setup.env)
    need("runpod", "runpod", "uvloop")
    sdk.prepare_environment(setup.worker.log_level)
    setup.engine.timeline.mark("interpreter", began)
    setup.engine.timeline.mark("settings read")
    try:
        return _run(setup, setup.engine)
    except EngineStartError as error:
        safer = setup.safer_engine(error)
        if safer is None:
            raise
        first = error
    try:
        return _run(setup, safer)
    except EngineStartError as error:
        logger.error("the second start failed, too: %s", error)
        raise first from error


def _import_http_client() -> None:
    with suppress(ImportError):
        import aiohttp  # noqa: F401


def _run(setup: Setup[tuple[RunPodSettings, float]], engine: RunningEngine) -> int:
    """Run a worker with this engine, on the loop that JOB_LOOP names; the exit code.

    Raises:
        EngineStartError: the engine could not be started.
    """
    from . import sdk

    settings, drain_timeout = setup.door
    if settings.job_loop == "engineroom":
        import uvloop

        from .worker import QueueWorker

        try:
            return uvloop.run(QueueWorker(engine, settings, drain_timeout).run())
        except sdk.SDKMovedError as error:
            logger.warning("%s; using the SDK's own loop instead", error)
            engine = setup.new_engine()
    from . import fallback

    return fallback.run(engine, settings)


def _load_settings(worker: WorkerSettings, env: Environment, names: NameCheck) -> tuple[RunPodSettings, float]:
    """This door's settings and DRAIN_TIMEOUT. Raises SettingsError with what is wrong in any of them."""
    from engineroom.errors import Problems

    from ..settings import DoorSettings
    from .settings import RunPodSettings

    problems = Problems()
    door = DoorSettings.load_valid(env, problems)
    settings = RunPodSettings.load_valid(env, problems)
    problems.check()
    return settings, door.drain_timeout


def _check_on_runpod(env: Environment) -> None:
    from engineroom.errors import Problem, SettingsError

    if "RUNPOD_WEBHOOK_GET_JOB" not in env:
        raise SettingsError(
            [
                Problem(
                    "RUNPOD_WEBHOOK_GET_JOB",
                    "is not set, so this is not running as a RunPod worker; "
                    "`engineroom emulate -- engineroom runpod` runs one on this machine",
                )
            ]
        )
