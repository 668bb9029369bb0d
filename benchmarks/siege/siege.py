"""`make siege`: attacks on both doors, one kind after another, and what became of them and of everybody else.

Trailers, heads and uploads without end, JSON that unpacks to much, what is almost HTTP, requests as large as the limits
let them be, a Redis that comes and goes, engines that are killed and stopped. Beside each attack a neighbour with a key
asks for three tokens, again and again: how long it waited in the worst case is a figure of the table, as is the door's
largest memory. Writes benchmarks/siege/results.md. At most 15 minutes on two cores; `--quick` takes three and writes
nothing unless `--write` is given.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runpod"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "limits"))  # Its bench.py, not that of runpod.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from battles import BATTLES, Battle
from processes import machine
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from score import Score, table

HERE = Path(__file__).parent
LIMITS = {False: 15 * 60.0, True: 3 * 60.0}
"""Seconds that all of it may take, by whether it is quick."""


def wage(battles: list[Battle], quick: bool) -> list[Score]:
    """All battles, each with its share of the time."""
    seconds = LIMITS[quick]
    whole = sum(battle.share_of(quick) for battle in battles)
    deadline = time.monotonic() + seconds
    scores = []
    columns = (
        SpinnerColumn(),
        *Progress.get_default_columns()[1:2],
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("", total=whole)
        for battle in battles:
            progress.update(task, description=battle.name)
            left = max(5.0, deadline - time.monotonic())
            share = battle.share_of(quick)
            scores.append(battle.wage(min(left, seconds * share / whole)))
            progress.advance(task, share)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three minutes instead of fifteen")
    parser.add_argument("--write", action="store_true", help="write the results of a quick one, too")
    parser.add_argument("--only", default="", help="those with this in their name")
    options = parser.parse_args()
    battles = [battle for battle in BATTLES if options.only in battle.name]
    began = time.monotonic()
    scores = wage(battles, options.quick)
    minutes = (time.monotonic() - began) / 60
    lines = [
        "# The siege",
        "",
        f"`make siege{' ARGS=--quick' if options.quick else ''}`: {minutes:.1f} minutes. Attackers, the neighbour, the "
        f"door and its engine share {machine()}.",
        "",
        *table(scores),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if not options.only and (options.write or not options.quick):
        (HERE / "results.md").write_text(text, encoding="utf-8")
    broken = [f"{score.name}: {problem}" for score in scores for problem in score.problems()]
    if broken:
        raise SystemExit("\n".join(broken))


if __name__ == "__main__":
    main()
