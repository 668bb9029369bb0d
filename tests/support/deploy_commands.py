"""Commands about deployments, run to their end against an emulated platform; none may print a secret."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from engineroom.commands.command_line import cli, describe
from engineroom.errors import EngineroomError, SettingsError
from engineroom_workers.emulator.platform_server import RunningPlatform

KEY = "rpa_neverseen"
SECRET = "hf_neverseen"
POD_KEY = "sk-neverseen"
ECHO_IMAGE = "ghcr.io/someone/engineroom:0.1.0-echo-0.1.0-cpu"


class Finished(NamedTuple):
    """A command that has ended. output: standard output and error together."""

    code: int
    output: str


def environment(platform: RunningPlatform, key: str = KEY, **more: str) -> dict[str, str]:
    return {"RUNPOD_API_URL": platform.url, "RUNPOD_API_KEY": key, "HF_TOKEN": SECRET, "COLUMNS": "120", **more}


async def command(platform: RunningPlatform, *words: str, key: str = KEY, **more: str) -> Finished:
    """Run a command to its end, in a thread: starting processes costs more than all that they do."""

    def run() -> Finished:
        result = CliRunner().invoke(cli, words, env=environment(platform, key, **more))
        if isinstance(result.exception, EngineroomError):
            wrong = isinstance(result.exception, SettingsError)
            return Finished(2 if wrong else 1, result.output + describe(result.exception))
        assert isinstance(result.exception, SystemExit | None), result.exc_info
        return Finished(result.exit_code, result.output)

    return without_secrets(await asyncio.to_thread(run))


async def process(platform: RunningPlatform, *words: str) -> Finished:
    """The same as a process of its own."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "PYTHONPATH") if name in os.environ}
    started = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("engineroom")),
        *words,
        env={**kept, **environment(platform)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        written, _ = await asyncio.wait_for(started.communicate(), 90)
    except BaseException:
        started.kill()
        await started.wait()
        raise
    return without_secrets(Finished(started.returncode or 0, written.decode()))


def without_secrets(finished: Finished) -> Finished:
    assert not [secret for secret in (SECRET, KEY, POD_KEY) if secret in finished.output], finished.output
    return finished
