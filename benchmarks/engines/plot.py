"""Draw results.json as engines.svg and engines-dark.svg, for pages of either colour: `python plot.py`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SHADES = {
    "engines.svg": {"ink": "#1f2328", "grid": "#d1d9e0", "bars": ["#9ec9f5", "#4493f8", "#0b4a9e"]},
    "engines-dark.svg": {"ink": "#f0f6fc", "grid": "#3d444d", "bars": ["#1f4f8f", "#4493f8", "#a8d1ff"]},
}


def draw(measured: Mapping[str, Any]) -> None:
    """Tokens a second and time to first token by streams, start-up and memory, a row an engine."""
    for name, shade in SHADES.items():
        _draw(measured, HERE / name, shade)


def _draw(measured: Mapping[str, Any], path: Path, shade: Mapping[str, Any]) -> None:
    import matplotlib

    matplotlib.use("svg")
    # Text as outlines, which look the same everywhere; and the same figures give the same file.
    own: Any = {"svg.fonttype": "path", "svg.hashsalt": "engineroom", "font.size": 11, "font.family": "sans-serif"}
    own |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), shade["ink"])
    with matplotlib.rc_context(own):
        from matplotlib import pyplot

        figure, panels = pyplot.subplots(2, 2, figsize=(10, 7.2), sharey=True, layout="constrained")
        rows = measured["rows"]
        rate, ttft, start, memory = panels.flat
        _bars(rate, rows, shade, "tokens/s", lambda row, n: row["rates"][n])
        _bars(ttft, rows, shade, "time to first token, ms", lambda row, n: row["ttft_ms"][n])
        _bars(start, rows, shade, "start to first token, s", lambda row, _: row["start_s"], ("",))
        _bars(memory, rows, shade, "memory of worker and engine, MB", lambda row, _: [row["memory_mb"]], ("",))
        handles, labels = rate.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        pyplot.close(figure)


def _bars(
    panel: Any, rows: Any, shade: Any, title: str, values: Any, streams: tuple[str, ...] = ("1", "4", "16")
) -> None:
    high = 0.8 / len(streams)
    colours = shade["bars"] if len(streams) > 1 else shade["bars"][1:2]
    for number, (n, colour) in enumerate(zip(streams, colours, strict=True)):
        middles = [statistics.median(values(row, n)) for row in rows]
        places = [place + (number - (len(streams) - 1) / 2) * high for place in range(len(rows))]
        label = f"{n} stream{'s' * (n != '1')}"
        bars = panel.barh(places, middles, 0.92 * high, color=colour, label=label)
        panel.bar_label(bars, [_short(middle) for middle in middles], padding=3, fontsize=9, color=shade["ink"])
    panel.set_title(title, fontsize=12, color=shade["ink"])
    panel.set_yticks(range(len(rows)), [f"{row['name']}\n{row['weights']}" for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.margins(x=0.15)
    panel.tick_params(length=0)
    panel.grid(axis="x", color=shade["grid"], linewidth=0.8)
    panel.set_axisbelow(True)
    for side in panel.spines.values():
        side.set_visible(False)


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 20 else f"{value:,.0f}"


if __name__ == "__main__":
    draw(json.loads((HERE / "results.json").read_text()))
