"""`engineroom check`: the conformance suite against a running server, or against an engine started for it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

if TYPE_CHECKING:
    from ..testing.check import Check
    from ..testing.target import Target

_LONGEST_REASON = 500
_MARKS = {"kept": ("✓", "green"), "broken": ("✗", "red"), "not checked": ("-", "dim")}
"""Outcome -> the mark before its line, and the colour of both."""


class CheckResult(NamedTuple):
    """What became of one check. reason: why it is not kept."""

    outcome: Literal["kept", "broken", "not checked"]
    reason: str = ""


@click.command()
@click.argument("what", required=False)
@click.option("--model", help="The model to ask for. Default: the first one that the server lists.")
@click.option("--api-key", envvar="OPENAI_API_KEY", help="The server's key, if it wants one (or set OPENAI_API_KEY).")
@click.option("--max-model-len", type=int, help="The context length in tokens: checks that longer prompts are refused.")
@click.option("--running-metric", help="The gauge of running generations in /metrics: checks that aborts free them.")
@click.option("--only", multiple=True, metavar="CHECK", help="Run only this check. May be given several times.")
def check(
    what: str | None,
    model: str | None,
    api_key: str | None,
    max_model_len: int | None,
    running_metric: str | None,
    only: Sequence[str],
) -> None:
    """Test a server or an engine for OpenAI compatibility.

    WHAT is the URL of a running server (`http://127.0.0.1:8000`), or the name of an engine, which is then started
    with the settings in force. Default: the engine that ENGINE names.

    A check is left out where it is about something that the engine does not declare among its capabilities, or that a
    server refuses with a 400 that names the field. A field that is ignored, or answered with another error, is a
    broken promise. The exit code is 1 if there is one.
    """
    import asyncio
    import re

    from ..testing.check import CHECKS
    from ..testing.target import Expectations, url_target

    unknown = set(only) - {str(check) for check in CHECKS}
    if unknown:
        raise click.UsageError(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(map(str, CHECKS))}")
    if what and "://" not in what and re.search("[:./]", what):
        raise click.UsageError(f"a server's URL begins with http:// or https://; did you mean http://{what}?")
    chosen = [check for check in CHECKS if not only or check.name in only]
    expectations = Expectations(model=model, max_model_len=max_model_len, running_metric=running_metric)

    async def against_url(url: str) -> int:
        async with url_target(url.rstrip("/").removesuffix("/v1"), expectations, api_key) as target:
            await _reachable(url, target)
            return await _run(chosen, target)

    async def against_engine() -> int:
        from ..plugins.reading import open_engine
        from ..settings.environment import Environment
        from ..testing.running import running
        from ..testing.target import engine_target

        env = Environment.load()
        if what:
            env = env.with_arguments({"ENGINE": what})
        async with running(open_engine(env)) as engine:
            return await _run(chosen, engine_target(engine, expectations))

    sys.exit(asyncio.run(against_url(what) if what and "://" in what else against_engine()))


async def _reachable(url: str, target: Target) -> None:
    """Raise EngineroomError where every check would fail for one and the same reason."""
    import aiohttp

    from ..errors import EngineroomError

    try:
        status, _ = await target.get("/v1/models")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise EngineroomError(f"cannot reach {url}: {error}") from error
    if status in (401, 403):
        raise EngineroomError(f"{url} refuses us (HTTP {status}): give it a key that it knows with --api-key")
    if status == 503:
        raise EngineroomError(f"{url} is not ready (HTTP 503): try again once its model is loaded")


async def _run(checks: Sequence[Check], target: Target) -> int:
    """Run the checks one after the other, and print each result; the exit code."""
    from rich.table import Table
    from rich.text import Text

    from .screen import console

    screen = console()
    counts = Counter[str]()
    for check in checks:
        started = time.perf_counter()
        with screen.status(check.promise):
            result = await _result(check, target)
        seconds = time.perf_counter() - started
        counts[result.outcome] += 1
        row = Table.grid(padding=(0, 1, 0, 0))
        mark, colour = _MARKS[result.outcome]
        row.add_row(Text(mark, colour), Text.assemble(check.promise, (f" {check.name}, {seconds:.1f} s", "dim")))
        if result.reason:
            row.add_row("", Text(result.reason, colour))
        screen.print(row)
    screen.print(f"\n{counts['kept']} kept, {counts['broken']} broken, {counts['not checked']} not checked")
    return 1 if counts["broken"] else 0


async def _result(check: Check, target: Target) -> CheckResult:
    from ..testing.target import NotOffered

    try:
        await check(target)
    except NotOffered as error:
        return CheckResult("not checked", f"not checked: {error}")
    except AssertionError as error:
        return CheckResult("broken", str(error)[:_LONGEST_REASON])
    except Exception as error:
        return CheckResult("broken", f"{type(error).__name__}: {error}"[:_LONGEST_REASON])
    return CheckResult("kept")
