"""`make bench-swap`: ten models on one worker with room for three.

1,000 requests in random order and in Zipf's: what failed, how often models were swapped in comparison with a router
that takes requests in the order of their arrival (baseline.py), how long requests waited, and what the model that is
asked for most has to suffer for the others. The models are stand-ins, echo with a start that takes as long as a small
model's, so that it is the policy that is measured; then the same on llama.cpp, with a small real model under ten names.
Then memory over 200 swaps, and over some of llama.cpp's, and workers that are killed at random moments: what is left of
them. Writes benchmarks/swap/results.md; at most five minutes on two cores.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from measures import (
    CLIENTS,
    KILLS,
    MODELS,
    REAL_CLIENTS,
    REAL_REQUESTS,
    REAL_SWAPS,
    REAL_TOKENS,
    REQUESTS,
    SWAPS,
    TOKENS,
    alone,
    echoes,
    in_order,
    kill_one,
    memory_over_swaps,
    real_models,
    serve,
)
from orders import ORDERS, SEED, uniform, zipf
from processes import Others, machine
from report import Compared, Hot, Results, page
from rich.console import Console

PAGE = Path(__file__).with_name("results.md")
console = Console()


def measure(share: float) -> Results:
    """All of it.

    Args:
        share: of the requests, swaps and kills that are wanted, for a look at whether it works.
    """
    began = time.perf_counter()

    def say(what: str) -> None:
        console.print(f"{time.perf_counter() - began:4.0f} s  {what}")

    count = round(REQUESTS * share)
    compared = []
    with Others() as others:
        for name, make in ORDERS.items():
            say(f"{count} requests in {name} order")
            order = make(count, MODELS)
            run = serve(echoes(), order, CLIENTS, TOKENS)
            compared.append(Compared(name, run, *in_order(order)))
            say(f"  {run.swaps} swaps, {dict(run.failed) or 'none failed'}, longest wait {max(run.waits):.2f} s")
        say("the hot model alone")
        hot = Hot(compared[-1].run.median_of(0), alone(zipf(count, MODELS)))
        say("llama.cpp")
        real_order = uniform(round(REAL_REQUESTS * share), MODELS)
        real = serve(real_models(), real_order, REAL_CLIENTS, REAL_TOKENS)
        say(f"  {real.swaps} swaps, {dict(real.failed) or 'none failed'}")
        say("memory")
        memory = memory_over_swaps(echoes(load_s=0), round(SWAPS * share))
        say(f"  over {memory.swaps} swaps {memory.early:.1f} to {memory.late:.1f} MB")
        real_memory = memory_over_swaps(real_models(), round(REAL_SWAPS * share))
        say(f"  over {real_memory.swaps} swaps {real_memory.early:.1f} to {real_memory.late:.1f} MB on llama.cpp")
        say("killed workers")
        moment = random.Random(SEED)
        kills = [kill_one(moment) for _ in range(max(1, round(KILLS * share)))]
    say("done")
    conditions = f"{machine()}, of which others used {others.share:.0%} meanwhile; worker, clients and models share it."
    return Results(compared, hot, real, memory, real_memory, kills, conditions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="a part of it, as 0.1, which is printed, not written")
    share = parser.parse_args().share
    text = page(measure(share))
    if share < 1:
        print(text)
        return
    PAGE.write_text(text)
    console.print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
