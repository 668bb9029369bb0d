"""Draw results.json as streams.svg and streams-dark.svg, for pages of either colour: `python plot.py`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SHADES = {
    "streams.svg": {
        "ink": "#1f2328",
        "grid": "#d1d9e0",
        "lines": {"door": "#0b4a9e", "router": "#b35900", "nginx": "#6e7781"},
    },
    "streams-dark.svg": {
        "ink": "#f0f6fc",
        "grid": "#3d444d",
        "lines": {"door": "#a8d1ff", "router": "#ffb366", "nginx": "#8b949e"},
    },
}


def draw(sweep: Mapping[str, Any]) -> None:
    """µs of CPU a token by the number of streams, a line a proxy, with the lowest and the highest of its rounds."""
    for name, shade in SHADES.items():
        _draw(sweep, HERE / name, shade)


def _draw(sweep: Mapping[str, Any], path: Path, shade: Mapping[str, Any]) -> None:
    import matplotlib

    matplotlib.use("svg")
    # Text as outlines, which look the same everywhere; and the same figures give the same file.
    own: Any = {"svg.fonttype": "path", "svg.hashsalt": "engineroom", "font.size": 11, "font.family": "sans-serif"}
    own |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), shade["ink"])
    with matplotlib.rc_context(own):
        from matplotlib import pyplot

        figure, panel = pyplot.subplots(figsize=(8, 4), layout="constrained")
        for name, by_streams in sweep.items():
            streams = [int(n) for n in by_streams]
            middles = [statistics.median(values) for values in by_streams.values()]
            lows = [middle - min(values) for middle, values in zip(middles, by_streams.values(), strict=True)]
            highs = [max(values) - middle for middle, values in zip(middles, by_streams.values(), strict=True)]
            colour = shade["lines"][name]
            panel.errorbar(streams, middles, (lows, highs), color=colour, marker="o", markersize=4, capsize=2)
            panel.annotate(
                _LABELS[name],
                (streams[-1], middles[-1]),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                color=colour,
            )
        panel.set_xscale("log")
        panel.set_yscale("log")
        ticks = [int(n) for n in next(iter(sweep.values()))]
        panel.set_xticks(ticks, [f"{n:,}" for n in ticks])
        panel.set_yticks((5, 10, 20, 50, 100, 200), ("5", "10", "20", "50", "100", "200"))
        panel.minorticks_off()
        panel.set_xlim(0.8, 2600)
        panel.set_xlabel("streams at once, 10 tokens/s each")
        panel.set_title("CPU of the proxy, µs a token", fontsize=12, color=shade["ink"], loc="left")
        panel.grid(color=shade["grid"], linewidth=0.8)
        panel.tick_params(length=0)
        panel.set_axisbelow(True)
        for side in panel.spines.values():
            side.set_visible(False)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        pyplot.close(figure)


_LABELS = {"door": "engineroom", "router": "vLLM's router", "nginx": "nginx"}


if __name__ == "__main__":
    draw(json.loads((HERE / "results.json").read_text())["sweep"]["measured"])
