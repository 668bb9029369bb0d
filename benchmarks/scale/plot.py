"""Draw the times to first token, predicted and measured, as scale.svg and scale-dark.svg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SHADES = {
    "scale.svg": {"ink": "#1f2328", "grid": "#d1d9e0", "measured": "#4493f8", "predicted": "#1f2328"},
    "scale-dark.svg": {"ink": "#f0f6fc", "grid": "#3d444d", "measured": "#4493f8", "predicted": "#f0f6fc"},
}
_POINTS = 200


def draw(results: Sequence[Mapping[str, Any]]) -> None:
    """A panel for each scenario: the share of requests that had their first token within so many seconds."""
    for name, shade in SHADES.items():
        _draw(results, HERE / name, shade)


def _draw(results: Sequence[Mapping[str, Any]], path: Path, shade: Mapping[str, str]) -> None:
    import matplotlib

    matplotlib.use("svg")
    # Text as outlines, which look the same everywhere; and the same figures give the same file.
    own: Any = {"svg.fonttype": "path", "svg.hashsalt": "engineroom", "font.size": 11, "font.family": "sans-serif"}
    own |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), shade["ink"])
    with matplotlib.rc_context(own):
        from matplotlib import pyplot

        figure, panels = pyplot.subplots(2, 2, figsize=(10, 6.4), sharey=True, layout="constrained")
        for panel, result in zip(panels.flat, results, strict=True):
            _curve(panel, result["measured_ttft_s"], shade["measured"], "measured", linewidth=4, alpha=0.6)
            _curve(panel, result["predicted_ttft_s"], shade["predicted"], "predicted", linewidth=1.2)
            panel.set_title(result["name"], fontsize=12, color=shade["ink"])
            panel.set_xlabel("time to first token, s")
            panel.set_xlim(left=0)
            panel.grid(color=shade["grid"], linewidth=0.8)
            panel.tick_params(length=0)
            for side in panel.spines.values():
                side.set_visible(False)
        for panel in panels[:, 0]:
            panel.set_ylabel("requests, %")
        handles, labels = panels.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        pyplot.close(figure)


def _curve(panel: Any, values: Sequence[float], colour: str, label: str, **style: Any) -> None:
    shares = [number / _POINTS for number in range(1, _POINTS + 1)]
    places = [values[min(len(values) - 1, round(share * (len(values) - 1)))] for share in shares]
    panel.plot(places, [100 * share for share in shares], color=colour, label=label, **style)
