"""Charts as inline SVG with HTML labels: they stretch to any width, and need no script.

The drawing itself is stretched without its aspect ratio, so that lines fill a phone as well as a wide screen;
the words stand beside it in HTML, where they keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_BINS = 60
NUM_COLOURS = 8
"""Colours `--series-0` and on of the style sheet; more series than this share the last one."""
_SIDE = 1000


def edges_of(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Borders of the spans of time that a chart shows as points, at most MAX_BINS spans.

    Args:
        times: (N,) seconds or frame indexes, N at least 1.
    """
    first, last = float(times.min()), float(times.max())
    return np.linspace(first, max(last, first + 1e-6), min(MAX_BINS, len(np.unique(times))) + 1)


def points_of(
    edges: NDArray[np.float64],
    times: NDArray[np.float64],
    values: NDArray[np.float64],
    how: Literal["mean", "least"],
) -> list[float]:
    """The mean or the least of the values in each span of time; NaN where there is none."""
    place = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(edges) - 2)
    points = []
    for number in range(len(edges) - 1):
        inside = values[(place == number) & ~np.isnan(values)]
        points.append(
            math.nan if not len(inside) else float(inside.mean() if how == "mean" else inside.min())
        )
    return points


def line_chart(
    title: str,
    unit: str,
    edges: NDArray[np.float64],
    x_unit: str,
    series: Mapping[str, Sequence[float]],
    gaps: Sequence[tuple[float, float]] = (),
) -> str:
    """A chart of values over time.

    Args:
        title: What is shown, in words.
        unit: Of the values, such as "m"; empty for counts.
        edges: Borders of the spans of time.
        x_unit: Of the edges, such as "s".
        series: Name and points of each line; NaN breaks it.
        gaps: When nothing was seen, on the axis of the edges: shaded, and no line goes across.

    Returns:
        A `figure` element.
    """
    top = _nice_top(max((v for values in series.values() for v in values if not math.isnan(v)), default=1.0))
    centres = ((edges[:-1] + edges[1:]) / 2).tolist()
    breaks = {
        place
        for place, (before, after) in enumerate(pairwise(centres), start=1)
        if any(since < after and until > before for since, until in gaps)
    }
    lines = "".join(_line(number, values, top, breaks) for number, values in enumerate(series.values()))
    grid = "".join(f'<line x1="0" x2="{_SIDE}" y1="{y}" y2="{y}"/>' for y in (0, _SIDE // 2, _SIDE))
    legend = "".join(
        f'<li><i class="swatch s{min(number, NUM_COLOURS - 1)}"></i>{escape(name)}</li>'
        for number, name in enumerate(series)
    )
    spoken = "; ".join(f"{name}: {_range(values, unit)}" for name, values in series.items())
    if gaps:
        legend += '<li><i class="swatch away"></i>camera away</li>'
        spoken += f"; camera away: {len(gaps)}"
    ticks = "".join(
        f'<span style="bottom:{share:.0%}">{number_of(top * share)}{"&nbsp;" + unit if unit else ""}</span>'
        for share in (0, 0.5, 1)
    )
    first, last = float(edges[0]), float(edges[-1])
    clock = "".join(
        f"<span>{number_of(first + share * (last - first))}&nbsp;{x_unit}</span>" for share in (0, 0.5, 1)
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}<ul class="legend">{legend}</ul></figcaption>'
        f'<div class="plot"><div class="ticks" aria-hidden="true">{ticks}</div>'
        f'<svg viewBox="0 0 {_SIDE} {_SIDE}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)} over time. {escape(spoken)}">'
        f'<g class="grid">{grid}</g><g class="away">{_shades(centres, gaps)}</g>{lines}'
        f"{_hover(edges, x_unit, series, unit)}</svg>"
        f'<div class="clock" aria-hidden="true">{clock}</div></div></figure>'
    )


def share_bar(title: str, parts: Mapping[str, float], unit: str) -> str:
    """A bar cut into the shares of a whole, with a legend of values.

    Args:
        title: What the whole is.
        parts: Name and size of each share.
        unit: Of the sizes.
    """
    total = sum(parts.values()) or 1.0
    pieces, legend = [], []
    for number, (name, size) in enumerate(parts.items()):
        colour = f"s{min(number, NUM_COLOURS - 1)}"
        pieces.append(f'<i class="{colour}" style="flex-grow:{size / total:.4f}" title="{escape(name)}"></i>')
        legend.append(
            f'<li><i class="swatch {colour}"></i>{escape(name)} <b>{number_of(size)}&nbsp;{unit}</b> '
            f"({size / total:.0%})</li>"
        )
    return (
        f'<figure class="shares"><figcaption>{escape(title)}</figcaption>'
        f'<div class="bar" aria-hidden="true">{"".join(pieces)}</div>'
        f'<ul class="legend">{"".join(legend)}</ul></figure>'
    )


def _shades(centres: Sequence[float], gaps: Sequence[tuple[float, float]]) -> str:
    """Areas where nothing was seen."""
    first, last = centres[0], centres[-1]
    scale = _SIDE / (last - first) if last > first else 0.0
    shades = []
    for since, until in gaps:
        left, right = (min(_SIDE, max(0.0, (moment - first) * scale)) for moment in (since, until))
        shades.append(f'<rect x="{left:.1f}" width="{max(1.0, right - left):.1f}" y="0" height="{_SIDE}"/>')
    return "".join(shades)


def _line(number: int, values: Sequence[float], top: float, breaks: Collection[int]) -> str:
    """One line, in as many pieces as it has gaps; a point on its own becomes a dot.

    Args:
        number: Of the line.
        values: Its points.
        top: What is at the upper end.
        breaks: Points that are not joined to those before.
    """
    step = _SIDE / max(1, len(values) - 1)
    pieces: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if math.isnan(value):
            pieces.append([])
        else:
            if place in breaks:
                pieces.append([])
            pieces[-1].append(f"{place * step:.1f},{_SIDE * (1 - value / top):.1f}")
    colour = f"s{min(number, NUM_COLOURS - 1)}"
    drawn = []
    for piece in filter(None, pieces):
        points = piece * 2 if len(piece) == 1 else piece  # a line of no length with round ends is a dot
        drawn.append(f'<polyline class="{colour}" points="{" ".join(points)}"/>')
    return "".join(drawn)


def _hover(edges: NDArray[np.float64], x_unit: str, series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Invisible columns that say their values when the pointer rests on them."""
    step = _SIDE / max(1, len(edges) - 2)
    columns = []
    for place, moment in enumerate(((edges[:-1] + edges[1:]) / 2).tolist()):
        said = ", ".join(
            f"{name} {number_of(values[place])}{' ' + unit if unit else ''}"
            for name, values in series.items()
            if not math.isnan(values[place])
        )
        columns.append(
            f'<rect x="{(place - 0.5) * step:.1f}" width="{step:.1f}" height="{_SIDE}">'
            f"<title>{number_of(moment)} {x_unit}: {escape(said) or 'nothing'}</title></rect>"
        )
    return f'<g class="hover">{"".join(columns)}</g>'


def _nice_top(highest: float) -> float:
    """The least of 1, 2, 4, 5, 8, 10, 20, ... that is not below the highest value; its half is round too."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= highest * (1 - 1e-9))


def _range(values: Sequence[float], unit: str) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "nothing"
    return f"{number_of(min(known))} to {number_of(max(known))} {unit}".strip()


def number_of(value: float) -> str:
    """Three figures, without a tail of zeros."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 3)}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"
