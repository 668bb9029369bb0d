"""Charts for pages of either colour: each is drawn twice, on no ground, in matplotlib's SVG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple


class Page(NamedTuple):
    """The page that a chart is for.

    suffix: of its file's name. ink: the colour of text. grid: that of the lines behind a chart.
    """

    suffix: str
    ink: str
    grid: str


LIGHT = Page("", "#1f2328", "#d1d9e0")
DARK = Page("-dark", "#f0f6fc", "#3d444d")


@contextmanager
def chart(path: Path, page: Page, *grid: int, **options: Any) -> Iterator[tuple[Any, Any]]:
    """A figure and its panels to draw on; at the end of the block they are in a file.

    Args:
        path: the file for the light page; that for the dark one has `-dark` in its name.
        grid: rows and columns of panels; one panel by default.
        options: of `pyplot.subplots`.
    """
    import matplotlib

    matplotlib.use("svg")
    # Text as outlines, which look the same everywhere; and the same figures give the same file.
    own: Any = {"svg.fonttype": "path", "svg.hashsalt": "engineroom", "font.size": 11, "font.family": "sans-serif"}
    own |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), page.ink)
    with matplotlib.rc_context(own):
        from matplotlib import pyplot

        figure, panels = pyplot.subplots(*grid, layout="constrained", **options)
        yield figure, panels
        file = path.with_stem(path.stem + page.suffix)
        figure.savefig(file, transparent=True, metadata={"Date": None})
        pyplot.close(figure)


def title(panel: Any, text: str, page: Page, **options: Any) -> None:
    """Give a panel its title."""
    panel.set_title(text, fontsize=12, color=page.ink, **options)


def lay_grid(panel: Any, page: Page, axis: Literal["x", "y", "both"] = "both") -> None:
    """A grid behind what is drawn on a panel, in place of a frame around it."""
    panel.grid(axis=axis, color=page.grid, linewidth=0.8)
    panel.tick_params(length=0)
    panel.set_axisbelow(True)
    for side in panel.spines.values():
        side.set_visible(False)
