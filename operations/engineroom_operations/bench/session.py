"""From the command's options to a run, its reports, and the exit code."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engineroom.settings import Environment

from ..load.arrivals import Arrivals
from ..load.failure import RequestFailure
from ..load.http_client import HTTPClient
from ..load.loop import MAX_IN_FLIGHT, Extent
from ..load.sender import OpenAISender, Sender
from ..scraping.vocabulary import MetricVocabulary
from ..targets.address import is_address, parse
from ..targets.resolve import resolve
from ..targets.target import RemoteTarget, with_key
from . import remedies
from .endpoint import EndpointRun
from .figures import Objectives, Report
from .live import LiveDisplay
from .probe import served_model
from .reports.files import to_csv, to_json, to_markdown
from .reports.page import to_html
from .reports.terminal import show
from .run import BenchPlan, BenchRun, Level
from .scenarios import SCENARIOS, Scenario, from_file
from .search import RateSearch
from .server_watch import ServerWatch

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
_BURST = re.compile(r"burst:(\d+)")
_LARGEST_BURST = 10_000
_OTHER_FILES = 100
"""Files that a run has open beside its connections, with room to spare."""


def run(url: str, **options: Any) -> int:
    """Measure, report, and say how it went: the exit code.

    Raises:
        click.UsageError: an option cannot be.
    """
    from rich.console import Console

    _raise_file_limit()
    plan = _plan(options)
    files = _files(options)
    target = _on_a_loop(_target(url, options))
    if options["via"] != "openai" and target.address.kind != "queue":
        raise click.UsageError(f"--via {options['via']} is for a queue endpoint of RunPod, and {url} is none")
    client = _client(target.openai_url, target, options)
    root = _client(target.address.url, target, options)
    errors = Console(stderr=True, highlight=False)
    report, failure = _on_a_loop(_measure(target, client, root, plan, options, errors))
    if failure is not None:
        errors.print(
            f"error: {client.url}: {failure}; {remedies.of(failure)}", markup=False, soft_wrap=True, style="red"
        )
    if report is None or not report.stages:
        return INTERRUPTED if failure is None else 1
    show(report, _output())
    for path, form in files:
        path.write_text(form(report), encoding="utf-8")
        errors.print(f"wrote {path}", markup=False, soft_wrap=True)
    if report.interrupted:
        return INTERRUPTED
    return 0 if any(stage.succeeded for stage in report.stages) else 1


def _output() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        # A pipe is for grep: no line is broken.
        console.width = 200
    return console


def _raise_file_limit() -> None:
    """Let this process have as many connections at once as its user may: shells start programs with a lower limit."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_IN_FLIGHT + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS says that there is no hard limit, and has one all the same.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _on_a_loop(work: Any) -> Any:
    """Run a coroutine on uvloop, which is what the figures of docs/bench.md are measured with, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


async def _measure(
    target: RemoteTarget,
    client: HTTPClient,
    root: HTTPClient,
    plan: BenchPlan,
    options: Mapping[str, Any],
    errors: Console,
) -> tuple[Report | None, RequestFailure | None]:
    """The report, and what ended the run before it could begin."""
    task = asyncio.current_task()
    if task is not None:
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):
            loop.add_signal_handler(signal.SIGINT, task.cancel)
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
    bench = None
    endpoint = EndpointRun(target, options, root) if target.address.kind in ("queue", "load-balancer") else None
    failure = None
    try:
        if endpoint is not None:
            await endpoint.open()
        model = options["model"]
        if not model:
            listing = served_model(client)
            model = await (listing if endpoint is None else endpoint.timed(listing))
        sender: Sender = OpenAISender(client, model, stream=options["stream"], timeout_s=options["timeout"])
        watch = ServerWatch(root, MetricVocabulary.installed(Environment.load()))
        if endpoint is not None:
            sender = endpoint.sender(sender, model)
            # The figures of a worker would be one worker's, and to ask for them is a request that is paid for.
            watch.available = False
        display = LiveDisplay(errors)
        bench = BenchRun(sender, watch, plan, client.url, model, display.show, display.ended)
        await bench.run()
    except RequestFailure as error:
        failure = error
    except asyncio.CancelledError:
        if bench is not None:
            bench.interrupted = True
    finally:
        if endpoint is not None:
            stages = bench.stages if bench is not None else []
            notes = await endpoint.close(sum(stage.tokens_in + stage.tokens_out for stage in stages))
            if bench is not None:
                bench.add_notes(notes)
        root.close()
        client.close()
    return (bench.report() if bench is not None else None), failure


async def _target(url: str, options: Mapping[str, Any]) -> RemoteTarget:
    """The server at a URL, or the deployment at RunPod of that name."""
    env = Environment.load()
    key = options["api_key"] or ""
    if not is_address(url) and env.get("RUNPOD_API_KEY"):
        place = await resolve(url, env, key)
        if isinstance(place, RemoteTarget):
            return place
    try:
        return with_key(parse(url), env, key)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _client(url: str, target: RemoteTarget, options: Mapping[str, Any]) -> HTTPClient:
    headers = dict(options["headers"])
    if not any(name.lower() == "authorization" for name in headers):
        headers |= target.headers
    try:
        return HTTPClient(url, headers, tls=_tls(target, options))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _tls(target: RemoteTarget, options: Mapping[str, Any]) -> ssl.SSLContext | None:
    if options["insecure"] or (options["ca"] is None and not target.verify_tls):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if options["ca"] is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(options["ca"]))
    except (OSError, ssl.SSLError) as error:
        raise click.UsageError(f"--ca {options['ca']}: this is no certificate ({error})") from None


def _plan(options: Mapping[str, Any]) -> BenchPlan:
    scenario = _scenario(options)
    arrivals = _arrivals(options["arrivals"])
    search_from: float = options["search_from"]
    rates: Sequence[float] = options["rate"] or ()
    levels = [Level(arrivals=arrivals._replace(rate=rate)) for rate in rates]
    fields = dict(options["fields"])
    if options["file"] is not None:
        try:
            from_file(options["file"], options["surface"], fields, "max_tokens")
        except (ValueError, OSError) as error:
            raise click.UsageError(str(error)) from None
    return BenchPlan(
        scenario=scenario,
        surface=options["surface"],
        levels=levels or [Level(streams=count) for count in options["concurrency"]],
        extent=Extent(options["requests"], options["duration"]),
        objectives=Objectives(options["slo_ttft"], options["slo_tokens"]),
        search=(lambda: RateSearch(search_from)) if options["search"] else None,
        search_arrivals=arrivals,
        file=options["file"],
        fields=fields,
        seed=options["seed"],
        warm_up=options["warm_up"],
        ramp_s=options["ramp"],
        streamed=options["streamed"],
        exact=options["ignore_eos"],
    )


def _scenario(options: Mapping[str, Any]) -> Scenario:
    if options["file"] is not None:
        return SCENARIOS["medium"]._replace(name=Path(options["file"]).name)
    scenario = SCENARIOS.get(options["scenario"])
    if scenario is None:
        names = ", ".join(SCENARIOS)
        raise click.UsageError(f"there is no scenario {options['scenario']!r}; there are {names}")
    if options["input_tokens"] is not None:
        scenario = scenario._replace(input=options["input_tokens"])
    if options["output_tokens"] is not None:
        scenario = scenario._replace(output=options["output_tokens"])
    if options["prefix_tokens"] is not None:
        scenario = scenario._replace(prefix=options["prefix_tokens"])
    return scenario


def _arrivals(text: str) -> Arrivals:
    if text in ("poisson", "regular"):
        return Arrivals(1, regular=text == "regular")
    burst = _BURST.fullmatch(text)
    if burst is None or not 1 <= int(burst[1]) <= _LARGEST_BURST:
        raise click.UsageError(f"--arrivals {text!r}: poisson, regular, or burst:N with N from 1 to {_LARGEST_BURST:,}")
    return Arrivals(1, at_once=int(burst[1]))


def _files(options: Mapping[str, Any]) -> list[tuple[Path, Callable[[Report], str]]]:
    """Where each form of the report goes. It can be written: an hour's run is not lost for want of a folder."""
    forms: list[tuple[Path | None, Callable[[Report], str]]] = [
        (options["json_file"], to_json),
        (options["csv_file"], to_csv),
        (options["markdown_file"], to_markdown),
        (options["html_file"], to_html),
    ]
    files = [(path, form) for path, form in forms if path is not None]
    for path, _ in files:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None
    return files
