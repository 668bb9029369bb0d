"""`engineroom emulate`: RunPod's platform on loopback, with or without a worker started beside it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from .faults import Faults
from .options import DEFAULT_HOLD_S, SECTIONS, EndpointOptions, HungUpPoll

F = TypeVar("F", bound=Callable[..., Any])

GRACE = click.FloatRange(0)
EXECUTION_TIMEOUT = click.FloatRange(0, min_open=True)
HOLD = click.FloatRange(0, 85)
"""The SDK gives a poll up after 90 seconds."""
PING_INTERVAL = click.FloatRange(1)
RTT = click.FloatRange(0, 60_000)
RATE = click.FloatRange(0, 1)


def fault_rate(name: str, requests: str) -> Callable[[F], F]:
    """An option for the rate of one fault, which strikes these requests."""
    return click.option(name, default=0.0, type=RATE, metavar="RATE", help=f"Share of the {requests}.")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110})
@click.option("--host", default="127.0.0.1", help="Address to listen on. Workers need no key: keep it on loopback.")
@click.option("--port", default=8088, type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--endpoint-id", default="emulated", help="The endpoint's id, as in /v2/ID/run.")
@click.option("--api-key", help="Refuse clients that do not send this key as `Authorization: Bearer KEY`.")
@click.option("--workers", default=1, type=click.IntRange(1), help="How many workers to start with COMMAND.")
@click.option(
    "--grace", default=45.0, type=GRACE, metavar="SECONDS", help="Time a worker has between SIGTERM and SIGKILL."
)
@click.option("--quiet", is_flag=True, help="Do not print a line for each finished job.")
@click.option(
    "--hold",
    default=DEFAULT_HOLD_S,
    type=HOLD,
    metavar="SECONDS",
    help="How long job-take and job-stop keep a poll open.",
)
@click.option(
    "--execution-timeout",
    default=600.0,
    type=EXECUTION_TIMEOUT,
    metavar="SECONDS",
    help="Time a worker has for one job.",
)
@click.option(
    "--ping-interval",
    default=10.0,
    type=PING_INTERVAL,
    metavar="SECONDS",
    help="Time between a worker's pings; a worker that misses three counts as gone.",
)
@click.option(
    "--hung-up-poll",
    default="keep",
    type=click.Choice(get_args(HungUpPoll)),
    help="What becomes of a poll that its worker hangs up: its job is kept in the queue; or lost on a dead connection; "
    "or lost until a proxy has told the platform; or delivered, since the platform ignores it.",
)
@click.option(
    "--load-balancing",
    is_flag=True,
    help="A load-balancing endpoint instead of a queue: COMMAND is an HTTP server, which listens on PORT.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    nargs=2,
    metavar="PATTERN COMMAND",
    help="What to start for images that are not engineroom's, in endpoints and pods of the management API.",
)
@click.option("--limits", is_flag=True, help="Enforce the platform's rate limits on clients.")
@click.option(
    "--rtt",
    "rtt_ms",
    default=0.0,
    type=RTT,
    metavar="MS",
    help="Milliseconds by which each POST of a worker is delayed.",
)
@fault_rate("--fail-stream", "job-stream POSTs that fail with a 500")
@fault_rate("--fail-done", "job-done POSTs that fail with a 500")
@fault_rate("--lose-answers", "job-stream and job-done POSTs that are taken and answered 502")
@fault_rate("--fail-take", "job-take polls that fail with a 500")
@fault_rate("--take-429", "job-take polls that are told to slow down")
@fault_rate("--take-400", "job-take polls answered 400, as happens with FlashBoot")
@fault_rate("--redeliver", "jobs that are handed out twice")
@fault_rate("--api-429", "requests to the management API that are told to slow down")
@fault_rate("--api-500", "requests to the management API that fail with a 500")
@fault_rate("--api-lose-answers", "requests to the management API that take effect and are answered 502")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def emulate(
    host: str,
    port: int,
    endpoint_id: str,
    api_key: str | None,
    workers: int,
    grace: float,
    quiet: bool,
    hold: float,
    execution_timeout: float,
    ping_interval: float,
    hung_up_poll: HungUpPoll,
    load_balancing: bool,
    images: tuple[tuple[str, str], ...],
    limits: bool,
    command: tuple[str, ...],
    **faults: Any,
) -> None:
    """Emulate RunPod's platform on this machine.

    Try an endpoint before paying for one. Clients get a queue endpoint: /v2/ID/run, runsync, status, stream, cancel,
    health, ... and /v2/ID/openai/v1 for any OpenAI client. Workers get the other side, which RunPod's SDK talks to.
    The management API (REST v2) is there, too: what `engineroom deploy` creates with RUNPOD_API_URL runs here.

    The command after `--` is started as the worker, with the environment variables that the platform would set, and
    is stopped together with the emulator. If the worker exits on its own, the emulator exits with the same code.

    \b
        engineroom emulate -- engineroom runpod
        engineroom emulate --workers 2 -- python handler.py
        engineroom emulate --load-balancing --workers 2 -- engineroom serve
        engineroom emulate --rtt 50 --fail-stream 0.1 -- engineroom runpod

    Without a COMMAND it prints the variables to set for a worker that you start yourself.

    A RATE is a number between 0 and 1, applied exactly: at 0.25 every fourth request fails. Rates and --rtt can be
    changed at any time by a POST to /emulator/faults. docs/emulator.md says which behaviour is modelled on RunPod's
    documentation and SDK, and which is a guess.
    """
    from ..extras import need

    if load_balancing and not command:
        raise click.UsageError("--load-balancing needs a COMMAND, such as `-- engineroom serve`.")
    if endpoint_id in SECTIONS:
        raise click.UsageError(f"--endpoint-id {endpoint_id}: /v2/{endpoint_id} belongs to the management API.")
    need("emulator", "uvicorn", "starlette", "httptools", "uvloop")
    from .run import EmulatorRun, run

    options = EndpointOptions(
        endpoint_id=endpoint_id,
        api_key=api_key,
        hold=hold,
        execution_timeout=execution_timeout,
        ping_interval=ping_interval,
        limits=limits,
        hung_up_poll=hung_up_poll,
    )
    sys.exit(
        run(EmulatorRun(options, Faults(**faults), host, port, command, workers, grace, quiet, load_balancing, images))
    )
