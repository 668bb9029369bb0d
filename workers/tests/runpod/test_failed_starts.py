"""A worker that cannot start: the platform and the clients of its jobs learn why, for a while, and one start is
repeated with settings that need less memory."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from server_process import process_groups

from engineroom.errors import EngineStartError
from engineroom_workers.emulator.jobs import Job
from engineroom_workers.emulator.testing import RunningEmulator, running_emulator
from engineroom_workers.runpod.failed_start import cause as cause_of

from .conftest import chat, submit

ENGINEROOM = str(Path(sys.executable).with_name("engineroom"))


@pytest.fixture
async def platform() -> AsyncIterator[RunningEmulator]:
    """Polls end soon, since a worker that ends waits for its own."""
    async with running_emulator(hold=0.5) as running:
        yield running


@dataclass
class Command:
    """`engineroom …` as a user starts it."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def lines(self) -> list[str]:
        return self.log_file.read_text().splitlines()

    async def code(self) -> int:
        return await asyncio.to_thread(self.process.wait, 60)


StartCommand = Callable[..., Command]


@pytest.fixture
def start_command(tmp_path: Path) -> Iterator[StartCommand]:
    numbers = itertools.count()
    with process_groups() as start_group:

        def start(platform: RunningEmulator, *arguments: str, **settings: object) -> Command:
            environ = {
                **{name: value for name, value in os.environ.items() if not name.startswith("RUNPOD_")},
                **platform.worker_environment(),
                "ENGINE": "echo",
                **{name: str(value) for name, value in settings.items()},
            }
            log_file = tmp_path / f"command-{next(numbers)}.log"
            with log_file.open("wb") as log:
                process = start_group([ENGINEROOM, *(arguments or ["runpod"])], env=environ, stdout=log, stderr=log)
            return Command(process, log_file)

        yield start


def error_of(job: Job) -> dict[str, Any]:
    assert job.status == "FAILED"
    error: dict[str, Any] = msgspec.json.decode(msgspec.json.decode(job.error))["error"]
    return error


CAUSES: list[tuple[list[str], dict[str, str], int, str]] = [
    ([], {"MAX_CONCURRENCY": "0"}, 2, "MAX_CONCURRENCY"),
    ([], {"MAX_CONCURRENCY": "0", "MAX_REQUEST_MB": "much"}, 2, "2 settings are wrong"),
    ([], {"ENGINE": "nope"}, 2, "no engine called 'nope'"),
    ([], {"ENGINEROOM_CONFIG": "/no/such/file"}, 2, "/no/such/file"),
    ([], {"ENGINE": "llamacpp", "MODEL_NAME": "/no/such/model.gguf"}, 2, "/no/such/model.gguf"),
    ([], {"ECHO_FAULT": "start", "JOB_LOOP": "sdk"}, 1, "ECHO_FAULT=start"),
    (["runpod", "-modle", "x"], {}, 2, "No such option"),
    (["runpod", "--modle", "x"], {}, 2, "did you mean MODEL_NAME?"),
    (["start"], {"WORKER": "nonsense"}, 2, "WORKER"),
]


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "cause"), CAUSES, ids=["-".join([*case[0], *case[1]]) for case in CAUSES]
)
async def test_jobs_fail_with_the_cause(
    platform: RunningEmulator,
    start_command: StartCommand,
    arguments: list[str],
    settings: dict[str, str],
    code: int,
    cause: str,
) -> None:
    jobs = [submit(platform, chat("a", stream=True)), submit(platform, {"prompt": "a"})]
    worker = start_command(platform, *arguments, **settings)
    for job in jobs:
        await platform.finished(job.id)
    messages = {error_of(job)["message"] for job in jobs}
    assert {error_of(job)["code"] for job in jobs} == {"worker_start_failed"}
    worker.process.terminate()
    assert await worker.code() == code
    (message,) = messages
    assert cause in message
    (known,) = platform.emulator.workers.by_id.values()
    assert cause in (known.unhealthy or "")
    log = "\n".join(worker.lines)
    assert cause in log
    assert "Traceback" not in log


async def test_the_last_line_of_the_log_is_what_clients_are_told(
    platform: RunningEmulator, start_command: StartCommand
) -> None:
    job = submit(platform, {"prompt": "a"})
    worker = start_command(platform, ECHO_FAULT="start", FAILED_START_TIMEOUT=1)
    await platform.finished(job.id)
    assert await worker.code() == 1
    assert worker.lines[-1] == f"error: {error_of(job)['message'].removeprefix('The worker cannot start: ')}"
    late = submit(platform, {"prompt": "a"})
    assert late.status == "IN_QUEUE"


async def test_it_can_exit_at_once(platform: RunningEmulator, start_command: StartCommand) -> None:
    job = submit(platform, {"prompt": "a"})
    worker = start_command(platform, MAX_CONCURRENCY=0, FAILED_START_TIMEOUT=0)
    assert await worker.code() == 2
    assert job.status == "IN_QUEUE"
    (known,) = platform.emulator.workers.by_id.values()
    assert "MAX_CONCURRENCY" in (known.unhealthy or "")


async def test_no_secret_is_told(platform: RunningEmulator, start_command: StartCommand) -> None:
    job = submit(platform, {"prompt": "a"})
    start_command(platform, ENGINE="s3cret-value", SOME_API_KEY="other,s3cret-value")
    await platform.finished(job.id)
    assert "no engine called" in error_of(job)["message"]
    (known,) = platform.emulator.workers.by_id.values()
    assert "s3cret" not in bytes(job.error).decode() + (known.unhealthy or "")


async def test_most_jobs_are_left_to_others(platform: RunningEmulator, start_command: StartCommand) -> None:
    """A machine with a fault of its own must not fail a whole queue that others could answer."""
    jobs = [submit(platform, {"prompt": "a"}) for _ in range(50)]
    worker = start_command(platform, ECHO_FAULT="start", FAILED_START_TIMEOUT=1.5)
    assert await worker.code() == 1
    assert 1 <= sum(job.status == "FAILED" for job in jobs) <= 3
    assert {job.status for job in jobs} == {"FAILED", "IN_QUEUE"}


@pytest.mark.parametrize("loop", ["engineroom", "sdk"])
async def test_one_more_start_with_less_memory(
    platform: RunningEmulator, start_command: StartCommand, loop: str
) -> None:
    job = submit(platform, {"prompt": "a"})
    worker = start_command(platform, ECHO_FAULT="memory", JOB_LOOP=loop)
    await platform.finished(job.id)
    assert job.status == "COMPLETED"
    (line,) = [line for line in worker.lines if "once more" in line]
    assert "ECHO_MAX_MODEL_LEN=131072 needs more memory" in line
    assert "with ECHO_MAX_MODEL_LEN=4096" in line
    assert "set this" in line


async def test_what_the_user_has_set_is_not_changed(platform: RunningEmulator, start_command: StartCommand) -> None:
    job = submit(platform, {"prompt": "a"})
    worker = start_command(platform, ECHO_FAULT="memory", ECHO_MAX_MODEL_LEN=5000)
    await platform.finished(job.id)
    assert "ECHO_MAX_MODEL_LEN=5000 needs more memory" in error_of(job)["message"]
    (line,) = [line for line in worker.lines if "no second start" in line]
    assert "ECHO_MAX_MODEL_LEN=5000 (from environment) is not changed" in line
    assert "ECHO_MAX_MODEL_LEN=4096 might fit" in line


def test_no_secret_is_in_a_cause() -> None:
    """A password with an `@` in it was cut at the first one, and `…_PASS` was no secret's name."""
    environ = {"DB_PASS": "hunter22", "HF_TOKEN": "not-for-anybody", "MODEL_NAME": "org/model"}
    error = EngineStartError("org/model: hunter22 and not-for-anybody do not open redis://me:p@ssword@host:6379/0")
    line = cause_of(error, environ)
    assert not {"hunter22", "not-for-anybody", "ssword"} & set(line.replace("@", " ").split())
    assert "org/model" in line
    assert "host:6379" in line
