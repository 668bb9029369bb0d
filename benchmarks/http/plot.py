"""Draw results.json as streams.svg and streams-dark.svg, for pages of either colour: `python plot.py`."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from charts import DARK, LIGHT, Page, chart, lay_grid, title

HERE = Path(__file__).parent
LINES = {
    LIGHT: {"door": "#0b4a9e", "router": "#b35900", "nginx": "#6e7781"},
    DARK: {"door": "#a8d1ff", "router": "#ffb366", "nginx": "#8b949e"},
}
_LABELS = {"door": "engineroom", "router": "vLLM's router", "nginx": "nginx"}
_APART = 1.3
"""How many times as high as the name below it a line's name stands at least, so that both can be read."""


def draw(sweep: Mapping[str, Any]) -> None:
    """µs of CPU a token by the number of streams, a line a proxy, with the lowest and the highest of its rounds."""
    for page in (LIGHT, DARK):
        with chart(HERE / "streams.svg", page, figsize=(8, 4)) as (_, panel):
            _draw(sweep, panel, page)


def _draw(sweep: Mapping[str, Any], panel: Any, page: Page) -> None:
    heights = _label_heights({name: statistics.median([*values.values()][-1]) for name, values in sweep.items()})
    for name, by_streams in sweep.items():
        streams = [int(n) for n in by_streams]
        middles = [statistics.median(values) for values in by_streams.values()]
        lows = [middle - min(values) for middle, values in zip(middles, by_streams.values(), strict=True)]
        highs = [max(values) - middle for middle, values in zip(middles, by_streams.values(), strict=True)]
        colour = LINES[page][name]
        panel.errorbar(streams, middles, (lows, highs), color=colour, marker="o", markersize=4, capsize=2)
        panel.annotate(
            _LABELS[name],
            (streams[-1], heights[name]),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    ticks = [int(n) for n in next(iter(sweep.values()))]
    panel.set_xticks(ticks, [f"{n:,}" for n in ticks])
    panel.set_yticks((5, 10, 20, 50, 100, 200, 500), ("5", "10", "20", "50", "100", "200", "500"))
    panel.minorticks_off()
    panel.set_xlim(0.8, 2600)
    panel.set_xlabel("streams at once, 10 tokens/s each")
    title(panel, "CPU of the proxy, µs a token", page, loc="left")
    lay_grid(panel, page)


def _label_heights(ends: Mapping[str, float]) -> dict[str, float]:
    """Where the lines' names stand: beside their ends, and none upon another."""
    heights: dict[str, float] = {}
    lower = 0.0
    for name in sorted(ends, key=ends.__getitem__):
        heights[name] = max(ends[name], lower * _APART)
        lower = heights[name]
    return heights


if __name__ == "__main__":
    draw(json.loads((HERE / "results.json").read_text())["sweep"]["measured"])
