"""Plots as inline SVG. Colours are classes, so that one picture is readable on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH = 420
HEIGHT = 250
_LEFT = 52
_RIGHT = 14
_TOP = 30
_BOTTOM = 40


class Series(NamedTuple):
    """A line of a plot. points: x and y; labels: of each point, or empty."""

    name: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str] = ()


class Axis(NamedTuple):
    """One axis. places: its marks where they are not to be chosen here, with their words."""

    title: str
    places: Sequence[tuple[float, str]] = ()


def line_plot(series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Lines with a point at each value; the y axis begins at 0."""
    series = [one for one in series if one.points]
    if not series:
        return ""
    xs = [point[0] for one in series for point in one.points]
    ys = [point[1] for one in series for point in one.points]
    low = min([*xs, *(place for place, _ in x.places)]) if x.places else min(0.0, *xs)
    high = max([*xs, *(place for place, _ in x.places)])
    if x.places:
        # Stages stand a little away from the borders.
        low -= 0.3
        high += 0.3
    scale = _Scale(low, high, max(ys))
    parts = [_frame(scale, x, y)]
    for number, one in enumerate(series):
        places = [(scale.x(point_x), scale.y(point_y)) for point_x, point_y in one.points]
        path = " ".join(f"{place_x:.1f},{place_y:.1f}" for place_x, place_y in places)
        parts.append(f'<polyline class="l s{number % 4}" points="{path}"/>')
        many = len(places) > 40
        for position, (place_x, place_y) in enumerate(places):
            label = one.labels[position] if one.labels else ""
            tip = f"{one.name}: {_short(one.points[position][1])} {label}".strip()
            radius = 1.5 if many else 3
            parts.append(
                f'<circle class="p s{number % 4}" cx="{place_x:.1f}" cy="{place_y:.1f}" r="{radius}">'
                f"<title>{escape(tip)}</title></circle>"
            )
            if label:
                parts.append(_beside(place_x, place_y, label))
    return _picture(parts, [one.name for one in series] if len(series) > 1 else [])


def bar_plot(bars: Sequence[tuple[float, float, float]], x: Axis, y: Axis) -> str:
    """A histogram: bars from, to, and how high. The x axis is logarithmic."""
    bars = [bar for bar in bars if bar[1] > bar[0] > 0]
    if not bars:
        return ""
    low = math.log10(bars[0][0])
    high = math.log10(bars[-1][1])
    scale = _Scale(low, high, max(bar[2] for bar in bars))
    marks = [(math.log10(value), _short(value)) for value in _log_marks(bars[0][0], bars[-1][1])]
    parts = [_frame(scale, Axis(x.title, marks), y)]
    for start, end, height in bars:
        left = scale.x(math.log10(start))
        right = scale.x(math.log10(end))
        top = scale.y(height)
        parts.append(
            f'<rect class="b s0" x="{left:.1f}" y="{top:.1f}" width="{max(1, right - left - 0.5):.1f}" '
            f'height="{scale.y(0) - top:.1f}"><title>{_short(start)}-{_short(end)}: {height:g}</title></rect>'
        )
    return _picture(parts, [])


def stacked_plot(columns: Sequence[tuple[str, Sequence[float]]], names: Sequence[str], x: Axis, y: Axis) -> str:
    """A column a stage, of parts on top of each other."""
    highest = max((sum(parts) for _, parts in columns), default=0)
    if not highest:
        return ""
    scale = _Scale(-0.6, len(columns) - 0.4, highest)
    marks = [(float(position), label) for position, (label, _) in enumerate(columns)]
    drawn = [_frame(scale, Axis(x.title, marks), y)]
    width = min(40.0, 0.6 * (scale.x(1) - scale.x(0)))
    for position, (label, parts) in enumerate(columns):
        base = 0.0
        for number, part in enumerate(parts):
            top = scale.y(base + part)
            tip = escape(f"{label}: {part:g} {names[number]}")
            drawn.append(
                f'<rect class="b s{number % 4}" x="{scale.x(position) - width / 2:.1f}" y="{top:.1f}" '
                f'width="{width:.1f}" height="{scale.y(base) - top:.1f}"><title>{tip}</title></rect>'
            )
            base += part
    return _picture(drawn, names)


class _Scale:
    """From values to places in the picture."""

    def __init__(self, low: float, high: float, highest: float) -> None:
        self._low = low
        self._width = high - low or 1.0
        self.marks = _marks(highest)
        self._highest = self.marks[-1]
        self.low = low
        self.high = low + self._width

    def x(self, value: float) -> float:
        return _LEFT + (value - self._low) / self._width * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - value / self._highest * (HEIGHT - _TOP - _BOTTOM)


def _marks(highest: float) -> list[float]:
    """Round numbers from 0 to at least the highest, five or so."""
    if highest <= 0:
        return [0, 1]
    step = 10 ** math.floor(math.log10(highest / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if highest / (step * factor) <= 5)
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]


def _log_marks(low: float, high: float) -> list[float]:
    marks = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in (1, 2, 5)
    ]
    inside = [mark for mark in marks if low <= mark <= high]
    if len(inside) > 6:
        inside = [mark for mark in inside if f"{mark:e}".startswith("1.0")]
    return inside if len(inside) > 1 else [low, high]


def _frame(scale: _Scale, x: Axis, y: Axis) -> str:
    parts = []
    for mark in scale.marks:
        place = scale.y(mark)
        parts.append(f'<line class="g" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{_short(mark)}</text>')
    for place, words in x.places or [(mark, _short(mark)) for mark in _marks(scale.high) if mark <= scale.high]:
        parts.append(
            f'<text x="{scale.x(place):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{escape(words)}</text>'
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text class="t" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.title)}</text>')
    parts.append(f'<text class="t" x="4" y="12">{escape(y.title)}</text>')
    return "".join(parts)


def _beside(x: float, y: float, label: str) -> str:
    """A point's label: above it, and to its left where there is no room on the right."""
    right = x < WIDTH - 90
    return (
        f'<text class="n" x="{x + (7 if right else -7):.1f}" y="{y - 6:.1f}" '
        f'text-anchor="{"start" if right else "end"}">{escape(label)}</text>'
    )


def _picture(parts: Sequence[str], names: Sequence[str]) -> str:
    legend = "".join(
        f'<span class="k"><i class="s{number % 4}"></i>{escape(name)}</span>' for number, name in enumerate(names)
    )
    if legend:
        legend = f'<div class="legend">{legend}</div>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>{legend}'


def _short(value: float) -> str:
    """A number for an axis: 0.5, 12, 1.2k."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 10_000:
        return f"{value / 1e3:.3g}k"
    return f"{value:.3g}" if size < 1000 else f"{value:.0f}"
