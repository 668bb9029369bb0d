"""Draw results.json as engines.svg and engines-dark.svg, for pages of either colour: `python plot.py`."""

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
BARS = {LIGHT: ("#9ec9f5", "#4493f8", "#0b4a9e"), DARK: ("#1f4f8f", "#4493f8", "#a8d1ff")}


def draw(measured: Mapping[str, Any]) -> None:
    """Tokens a second and time to first token by streams, start-up and memory, a row an engine."""
    for page in (LIGHT, DARK):
        with chart(HERE / "engines.svg", page, 2, 2, figsize=(10, 7.2), sharey=True) as (figure, panels):
            _draw(measured["rows"], figure, panels, page)


def _draw(rows: Any, figure: Any, panels: Any, page: Page) -> None:
    rate, ttft, start, memory = panels.flat
    _bars(rate, rows, page, "tokens/s", lambda row, n: row["rates"][n])
    _bars(ttft, rows, page, "time to first token, ms", lambda row, n: row["ttft_ms"][n])
    _bars(start, rows, page, "start to first token, s", lambda row, _: row["start_s"], ("",))
    _bars(memory, rows, page, "memory of worker and engine, MB", lambda row, _: [row["memory_mb"]], ("",))
    handles, labels = rate.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)


def _bars(
    panel: Any, rows: Any, page: Page, measure: str, values: Any, streams: tuple[str, ...] = ("1", "4", "16")
) -> None:
    high = 0.8 / len(streams)
    colours = BARS[page] if len(streams) > 1 else BARS[page][1:2]
    for number, (n, colour) in enumerate(zip(streams, colours, strict=True)):
        middles = [statistics.median(values(row, n)) for row in rows]
        places = [place + (number - (len(streams) - 1) / 2) * high for place in range(len(rows))]
        label = f"{n} stream{'s' * (n != '1')}"
        bars = panel.barh(places, middles, 0.92 * high, color=colour, label=label)
        panel.bar_label(bars, [_short(middle) for middle in middles], padding=3, fontsize=9, color=page.ink)
    title(panel, measure, page)
    panel.set_yticks(range(len(rows)), [f"{row['name']}\n{row['weights']}" for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.margins(x=0.15)
    lay_grid(panel, page, axis="x")


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 20 else f"{value:,.0f}"


if __name__ == "__main__":
    draw(json.loads((HERE / "results.json").read_text()))
