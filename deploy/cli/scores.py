"""Scores as a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from plantain.deploy.lab.footage import Clip
    from plantain.deploy.lab.scoring import Score

MIN_WIDTH = 132

_BROKEN = {
    "pictures": "pic-\ntures",
    "mean IoU": "mean\nIoU",
    "vegetation": "vege-\ntation",
    "building": "build-\ning",
}
"""Long titles in two lines."""


def table_of(scores: Sequence[Score], width: int) -> Table:
    """A table of scores, with their intervals where they have one.

    Args:
        scores: The rows.
        width: Of the terminal, characters; what the measures mean is left out where it would not fit.
    """
    table = Table(show_edge=False, pad_edge=False)
    has_intervals = any(score.interval is not None for score in scores)
    table.add_column("measure", no_wrap=True)
    table.add_column("reached", justify="right", no_wrap=True)
    if has_intervals:
        table.add_column("95 % of test sets", justify="right", no_wrap=True)
    table.add_column("perfect", justify="right", no_wrap=True)
    has_words = width >= MIN_WIDTH
    if has_words:
        table.add_column("meaning", style="dim")
    for score in scores:
        measure = score.measure
        cells = [measure.name, score.written]
        cells += [score.written_interval] if has_intervals else []
        cells += [f"{measure.ideal}{measure.unit}"]
        cells += [measure.meaning] if has_words else []
        table.add_row(*cells)
    return table


def comparison_of(before: Sequence[Score], after: Sequence[Score]) -> Table:
    """A table of the measures that were taken both before and after something."""
    table = Table(show_edge=False, pad_edge=False)
    for title in ("measure", "before", "after", "perfect"):
        table.add_column(title, justify="left" if title == "measure" else "right", no_wrap=True)
    later = {score.key: score for score in after}
    for score in before:
        if score.key in later:
            measure = score.measure
            table.add_row(
                measure.name, score.written, later[score.key].written, f"{measure.ideal}{measure.unit}"
            )
    return table


def steadiness_of(clips: Sequence[Clip]) -> Table:
    """A table of how steady the answers about each clip are."""
    from plantain.deploy.lab.footage import MEANINGS, written

    table = Table(show_edge=False, pad_edge=False)
    table.add_column("from frame to frame", no_wrap=True)
    for clip in clips:
        table.add_column(clip.name, justify="right", overflow="fold")
    for name in MEANINGS:
        told = [(clip.steadiness or {}).get(name) for clip in clips]
        cells = ["-" if value is None else written(name, value) for value in told]
        table.add_row(name.removesuffix("_deg").replace("_", " "), *cells)
    if any(clip.error for clip in clips):
        table.add_row("not read", *(clip.error for clip in clips), style="red")
    return table


def streets_of(figures: Mapping[str, Any], width: int) -> Table:
    """A table of `street_scores`: mean IoU of the street classes and each one's, by source and over all pictures.

    Args:
        figures: What was measured.
        width: Of the terminal, characters; intervals are left out, and long titles broken, where they would not fit.
    """
    from plantain.operators.models.plantain.evaluation.street_scores import STREET_CLASSES

    table = Table(show_edge=False, pad_edge=False)
    table.add_column("source", no_wrap=True)
    is_wide = width >= MIN_WIDTH
    titles = ["pictures", "mean IoU", *(["95 % of test sets"] if is_wide else []), *STREET_CLASSES]
    for title in titles:
        shown = title if is_wide else _BROKEN.get(title, title)
        table.add_column(shown, justify="right", no_wrap=True)
    for name, own in (*figures["sources"].items(), ("all", figures)):
        low, high = own["miou6_ci"]
        ious = [
            f"{own['class_iou'][each]:.2f}" if each in own["class_iou"] else "-" for each in STREET_CLASSES
        ]
        interval = [f"{low:.3f} to {high:.3f}"] if is_wide else []
        table.add_row(name, str(own["num_pictures"]), f"{own['miou6']:.3f}", *interval, *ious)
    return table
