"""Draw the times to first token, predicted and measured, as scale.svg and scale-dark.svg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from charts import DARK, LIGHT, Page, chart, lay_grid, title

HERE = Path(__file__).parent
_MEASURED = "#4493f8"
_POINTS = 200


def draw(results: Sequence[Mapping[str, Any]]) -> None:
    """A panel for each scenario: the share of requests that had their first token within so many seconds."""
    for page in (LIGHT, DARK):
        with chart(HERE / "scale.svg", page, 2, 2, figsize=(10, 6.4), sharey=True) as (figure, panels):
            _draw(results, figure, panels, page)


def _draw(results: Sequence[Mapping[str, Any]], figure: Any, panels: Any, page: Page) -> None:
    for panel, result in zip(panels.flat, results, strict=True):
        _curve(panel, result["measured_ttft_s"], _MEASURED, "measured", linewidth=4, alpha=0.6)
        _curve(panel, result["predicted_ttft_s"], page.ink, "predicted", linewidth=1.2)
        title(panel, result["name"], page)
        panel.set_xlabel("time to first token, s")
        panel.set_xlim(left=0)
        lay_grid(panel, page)
    for panel in panels[:, 0]:
        panel.set_ylabel("requests, %")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)


def _curve(panel: Any, values: Sequence[float], colour: str, label: str, **style: Any) -> None:
    shares = [number / _POINTS for number in range(1, _POINTS + 1)]
    places = [values[min(len(values) - 1, round(share * (len(values) - 1)))] for share in shares]
    panel.plot(places, [100 * share for share in shares], color=colour, label=label, **style)
