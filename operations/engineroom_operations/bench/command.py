"""`engineroom bench`: the command line of a load test, and of the comparison of two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .lengths import Lengths
from .option_values import body_field, header, rates, stream_counts

_WRITABLE = click.Path(dir_okay=False, path_type=Path)
_READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DEFAULT_STREAMS = (1, 4, 16)
_DEFAULT_SECONDS = 20.0
_SEARCH_TTFT_MS = 500.0
_SEARCH_TOKENS_PER_S = 20.0


def _read_by(reader: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback for an option that reads its text, or each of its texts."""

    def read(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(reader(one) for one in value)
            return None if value is None else reader(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return read


def _section(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, so that the command reads as a list of its parts."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_TARGET = _section(
    click.option("--model", "-m", help="The model to ask; by default the first that the server lists."),
    click.option("--api-key", help="Sent as a bearer token; by default OPENAI_API_KEY where that is set."),
    click.option(
        "--header", "-H", "headers", callback=_read_by(header), multiple=True, help="'Name: value' of each request."
    ),
    click.option(
        "--surface", type=click.Choice(["chat", "completions", "embeddings"]), default="chat", show_default=True
    ),
    click.option("--stream/--no-stream", default=True, help="Whether answers stream; without, there is no TTFT."),
    click.option(
        "--timeout", type=click.FloatRange(min=0.1), default=600, show_default=True, help="Seconds an answer may take."
    ),
    click.option("--ca", type=_READABLE, help="A file with the certificate of the server's authority."),
    click.option("--insecure", is_flag=True, help="Do not check the server's certificate."),
)
_ASKS = _section(
    click.option(
        "--scenario", "-s", default="medium", show_default=True, help="short, medium, long, chat or sharegpt-like."
    ),
    click.option("--file", type=_READABLE, help="Own requests: a line of JSON each, a whole body or a prompt."),
    click.option(
        "--input-tokens", callback=_read_by(Lengths.parse), help="256, 64-512, normal:256,64 or lognormal:90,1.3,4096."
    ),
    click.option("--output-tokens", callback=_read_by(Lengths.parse), help="Likewise, of answers."),
    click.option("--prefix-tokens", type=click.IntRange(0, 1_000_000), help="A beginning that all prompts share."),
    click.option(
        "--field",
        "-f",
        "fields",
        callback=_read_by(body_field),
        multiple=True,
        help="name=value of each body, e.g. temperature=0.",
    ),
    click.option(
        "--ignore-eos/--no-ignore-eos",
        default=None,
        help="Whether answers go on to their length whatever the model wants; by default where the server takes it.",
    ),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same prompts for the same number."
    ),
)
_LOAD = _section(
    click.option(
        "--concurrency",
        "-c",
        callback=_read_by(stream_counts),
        help="Streams at once: 16, 1,4,16 or 1-64 (doubling). [1,4,16]",
    ),
    click.option(
        "--rate",
        "-r",
        callback=_read_by(rates),
        help="Requests a second that arrive whether others are answered or not.",
    ),
    click.option("--arrivals", default="poisson", show_default=True, help="With --rate: poisson, regular or burst:N."),
    click.option("--duration", "-d", type=click.FloatRange(min=0.1), help="Seconds for which a stage sends. [20]"),
    click.option(
        "--requests", "-n", type=click.IntRange(min=1), help="Requests a stage sends, in place of a duration."
    ),
    click.option(
        "--warm-up",
        type=click.IntRange(0, 100),
        default=1,
        show_default=True,
        help="Requests a stream before each stage that do not count.",
    ),
    click.option(
        "--ramp", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Seconds over which streams begin."
    ),
)
_OBJECTIVES = _section(
    click.option(
        "--slo-ttft", type=click.FloatRange(min=0.001), metavar="MS", help="99 of 100 first tokens come within this."
    ),
    click.option(
        "--slo-tokens",
        type=click.FloatRange(min=0.001),
        metavar="PER_S",
        help="99 of 100 streams have this many tokens/s.",
    ),
    click.option("--search", is_flag=True, help="Find the largest rate that keeps these [500 ms and 20 tokens/s]."),
    click.option(
        "--search-from",
        type=click.FloatRange(0.001, 10_000),
        default=1.0,
        show_default=True,
        help="The first rate to try.",
    ),
)
_RUNPOD = _section(
    click.option(
        "--via",
        type=click.Choice(["openai", "run", "runsync"]),
        default="openai",
        show_default=True,
        help="The route of a queue endpoint of RunPod: /openai/v1, /run with /stream, or /runsync.",
    ),
    click.option(
        "--worker-price",
        type=click.FloatRange(min=0),
        metavar="USD",
        help="What a worker costs an hour, for the cost of the run; by default as RunPod's catalogue says.",
    ),
)
_REPORTS = _section(
    click.option("--json", "json_file", type=_WRITABLE, help="Write the report as JSON, which --compare reads."),
    click.option("--csv", "csv_file", type=_WRITABLE, help="Write it as CSV, a row a stage."),
    click.option("--markdown", "markdown_file", type=_WRITABLE, help="Write it as Markdown."),
    click.option("--html", "html_file", type=_WRITABLE, help="Write it as one page with plots."),
    click.option(
        "--compare", nargs=2, type=_READABLE, metavar="BEFORE AFTER", help="Compare two reports in JSON instead."
    ),
)


@click.command()
@click.argument("url", required=False)
@_TARGET
@_ASKS
@_LOAD
@_OBJECTIVES
@_RUNPOD
@_REPORTS
def bench(url: str | None, compare: tuple[Path, Path] | None, **options: Any) -> None:
    """Measure how much load an OpenAI-compatible endpoint carries.

    \b
        engineroom bench http://127.0.0.1:8000                    1, 4 and 16 streams, 20 s each
        engineroom bench URL -s chat -c 1-64 --html report.html   a sweep, with a page of plots
        engineroom bench URL --rate 2,4,8                         arrivals that wait for nobody
        engineroom bench https://api.runpod.ai/v2/ID              an endpoint of RunPod: cold starts and cost
        engineroom bench URL --search --slo-ttft 500              the largest rate that keeps a promise
        engineroom bench --compare before.json after.json         two runs side by side

    Ctrl-C ends it early: what was measured by then is reported. Exit codes: 0 where requests were answered, also with
    --compare; 1 where none was; 2 for a wrong option; 130 after Ctrl-C.
    """
    if compare is not None:
        if url is not None:
            raise click.UsageError("--compare reads two files and asks no server: leave the URL out")
        _compare(*compare)
        return
    if url is None:
        raise click.UsageError("name the server's URL, e.g. http://127.0.0.1:8000")
    from .session import run

    code = run(url, **_checked(options))
    if code:
        raise SystemExit(code)


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options without those that exclude each other.

    Raises:
        click.UsageError: two of them do.
    """
    if options["concurrency"] and options["rate"]:
        raise click.UsageError("--concurrency is for a closed loop and --rate for an open one: give one of them")
    if options["search"] and (options["concurrency"] or options["rate"]):
        raise click.UsageError("--search chooses the rates itself: leave --concurrency and --rate out")
    if options["file"] and any(
        options[name] is not None for name in ("input_tokens", "output_tokens", "prefix_tokens")
    ):
        raise click.UsageError(
            "--file has its own prompts: leave --input-tokens, --output-tokens and --prefix-tokens out"
        )
    if options["insecure"] and options["ca"]:
        raise click.UsageError(
            "--insecure checks no certificate, and --ca says with what to check it: give one of them"
        )
    if options["surface"] == "embeddings" and (options["slo_ttft"] or options["slo_tokens"] or options["search"]):
        raise click.UsageError(
            "embeddings have no tokens to wait for: --slo-ttft, --slo-tokens and --search do not apply"
        )
    options["streamed"] = options["stream"] and options["via"] != "runsync" and options["surface"] != "embeddings"
    objectives = options["slo_ttft"] or options["slo_tokens"] or options["search"]
    if objectives and not options["streamed"]:
        raise click.UsageError(
            "without streams there are no first tokens and no tokens a second: leave --no-stream and --via runsync out"
        )
    if options["search"] and options["slo_ttft"] is None and options["slo_tokens"] is None:
        options["slo_ttft"] = _SEARCH_TTFT_MS
        options["slo_tokens"] = _SEARCH_TOKENS_PER_S
    if options["duration"] is None and options["requests"] is None:
        options["duration"] = _DEFAULT_SECONDS
    if not options["concurrency"] and not options["rate"]:
        options["concurrency"] = _DEFAULT_STREAMS
    return options


def _compare(before: Path, after: Path) -> None:
    from .compare import compare
    from .reports.files import read
    from .reports.terminal import show_comparison

    show_comparison(compare(read(before), read(after)), before.name, after.name)
