"""`engineroom runpod`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ..arguments import as_settings, takes_model

if TYPE_CHECKING:
    from engineroom.settings import Environment, NameCheck, WorkerSettings

    from .settings import RunPodSettings


@click.command()
@takes_model
def runpod(**options: str | None) -> None:
    """Process the jobs of a RunPod serverless queue.

    MODEL is a file, a folder, or a repository of the Hugging Face Hub, which is downloaded if it is not here. An engine
    that can serve it is taken, unless ENGINE names one.

    This is the command of a RunPod worker; to try it on this machine: `engineroom emulate -- engineroom runpod`. On
    SIGTERM running jobs have DRAIN_TIMEOUT seconds to finish, and no job is lost. If the engine dies, the exit code
    is 1, so that the platform replaces the worker.

    All other settings are environment variables; `engineroom config --all` lists them.
    """
    from engineroom.settings import Environment

    sys.exit(work(Environment.load().with_arguments(as_settings(options))))


def work(env: Environment) -> int:
    """Run a worker with these settings; the exit code.

    Raises:
        EngineroomError: the settings are wrong, or the engine could not be started.
    """
    from engineroom import logs, plugins
    from engineroom.timeline import process_age

    from ..extras import need
    from . import sdk

    began = process_age()
    logs.configure_before(env)
    setup = plugins.set_up(env, _load_settings, door="runpod")
    engine = setup.engine
    settings, drain_timeout = setup.door
    logs.configure(setup.worker)
    setup.log_notes()
    _check_on_runpod(setup.env)
    need("runpod", "runpod", "uvloop")
    sdk.prepare_environment(setup.worker.log_level)
    engine.timeline.mark("interpreter", began)
    engine.timeline.mark("settings read")
    if settings.job_loop == "engineroom":
        import uvloop

        from .worker import QueueWorker

        try:
            return uvloop.run(QueueWorker(engine, settings, drain_timeout).run())
        except sdk.SDKMovedError as error:
            import logging

            logging.getLogger(__name__).warning("%s; using the SDK's own loop instead", error)
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
