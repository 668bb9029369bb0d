"""`engineroom check`: the conformance suite against a running server, or against an engine started for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engineroom.testing import Check, Target


@click.command()
@click.argument("what", required=False)
@click.option("--model", help="The model to ask for; the first one listed by default.")
@click.option("--api-key", envvar="OPENAI_API_KEY", help="Key for a server that wants one (OPENAI_API_KEY).")
@click.option("--max-model-len", type=int, help="Tokens of context, to check that a longer prompt is refused.")
@click.option("--running-metric", help="The gauge of running generations, to check that aborts arrive.")
@click.option("--only", multiple=True, metavar="CHECK", help="Run only this check; may be given several times.")
def check(
    what: str | None,
    model: str | None,
    api_key: str | None,
    max_model_len: int | None,
    running_metric: str | None,
    only: Sequence[str],
) -> None:
    """Check that an engine keeps its promises.

    WHAT is a server's URL (`http://127.0.0.1:8000`), or the name of an engine, which is started for it with the
    settings in force; ENGINE's by default. Exits with 1 where a promise is broken.
    """
    import asyncio

    from engineroom.testing import CHECKS, Expectations, url_target

    unknown = set(only) - {str(check) for check in CHECKS}
    if unknown:
        raise click.UsageError(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(map(str, CHECKS))}")
    chosen = [check for check in CHECKS if not only or check.name in only]
    expectations = Expectations(model=model, max_model_len=max_model_len, running_metric=running_metric)

    async def against_url(url: str) -> int:
        async with url_target(url, expectations, api_key) as target:
            return await _run(chosen, target)

    async def against_engine() -> int:
        from dataclasses import replace

        from engineroom import house
        from engineroom.environment import Environment, Layer
        from engineroom.testing import engine_target

        env = Environment.load()
        if what:
            env = Environment([Layer("command line", {"ENGINE": what}, owned=True), *env.layers])
        engine = house.open_engine(env)
        try:
            await engine.start()
            asked = replace(expectations, model=model or engine.models[0], can_abort=engine.can_abort)
            return await _run(chosen, engine_target(engine, asked))
        finally:
            await engine.stop()

    sys.exit(asyncio.run(against_url(what) if what and "://" in what else against_engine()))


async def _run(checks: Sequence[Check], target: Target) -> int:
    """Run the checks one after the other, a line each; the exit code."""
    from rich.console import Console
    from rich.text import Text

    from engineroom.testing import NotOffered

    console = Console()
    kept = broken = left_out = 0
    for check in checks:
        started = time.perf_counter()
        with console.status(check.promise):
            try:
                await check(target)
                mark, said, kept = "[green]✓[/green]", "", kept + 1
            except NotOffered as reason:
                mark, said, left_out = "[dim]-[/dim]", f"not offered: {reason}", left_out + 1
            except Exception as error:
                mark, said, broken = "[red]✗[/red]", f"{type(error).__name__}: {error}"[:500], broken + 1
        console.print(f"{mark} {check.promise} [dim]{check.name}, {time.perf_counter() - started:.1f} s[/dim]")
        if said:
            console.print(Text(f"  {said}", style="red" if "✗" in mark else "dim"))
    console.print(f"\n{kept} kept, {broken} broken, {left_out} not offered")
    return 1 if broken else 0
