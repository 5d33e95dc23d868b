"""What was seen of each stream: example frames, and charts over time."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.deploy.report import charts, gallery
from plantain.deploy.report.run import Run
from plantain.operators.answers import kind_called
from plantain.operators.prompts import Prompt, Task
from plantain.operators.sinks.parquet.reading import read_results

# Streams beyond these are in the tables of the page only.
MAX_STREAMS = 12


def streams_of(run: Run, root: str, budget: int) -> str:
    """Example frames and charts of each stream, as far as the page has room."""
    names = run.streams
    shown = names[:MAX_STREAMS]
    num_moments, width = {1: (4, 640), 2: (3, 560), 3: (2, 480)}.get(len(shown), (1, 400))
    parts, omitted = [], list(names[MAX_STREAMS:])
    for number, name in enumerate(shown):
        part = _stream(run, root, name, f"stream{number}", num_moments, width)
        if len(part) > budget:
            omitted.append(name)
            continue
        budget -= len(part)
        parts.append(part)
    if omitted:
        parts.append(
            f"<p class='note'>{len(omitted)} further streams are left out to keep this page small; "
            "their rows are in the tables.</p>"
        )
    return "".join(parts)


def _stream(run: Run, root: str, name: str, anchor: str, num_moments: int, width: int) -> str:
    of = run.frames["stream_id"] == name
    index, first = np.unique(run.frames["frame_index"][of], return_index=True)
    found = np.zeros(len(index))
    counted = of & np.isin(run.frames["task"].astype(str), _things()) & (run.frames["status"] == "ok")
    np.add.at(
        found, np.searchsorted(index, run.frames["frame_index"][counted]), run.frames["num_objects"][counted]
    )
    chosen = gallery.choose(index.astype(np.int64), found, num_moments)
    results = read_results(root, name, chosen)
    results = gallery.with_pictures(results, run.sources.get(name, ""), width)
    moments = [
        gallery.moment(result, f"{anchor}-{number}", width, is_first=number == 0)
        for number, result in enumerate(results)
    ]
    note = ""
    if any(result.info.picture is None for result in results):
        note = "<p class='note'>The input is no longer there, so answers are drawn on a plain ground.</p>"
    size = f"{run.frames['width'][of][first[0]]} x {run.frames['height'][of][first[0]]} pixels"
    video = f"overlay/{name}.mp4"
    link = f"; <a href='{escape(video)}'>annotated video</a>" if (Path(root) / video).is_file() else ""
    heading = f"<h3>{escape(name)}</h3><p class='dim'>{len(index):,} frames of {size}{link}</p>"
    return f"<article>{heading}{note}{moments[0]}{_charts(run, of, name)}{''.join(moments[1:])}</article>"


def _things() -> list[str]:
    """Tasks whose answers are single things, which can be counted."""
    return [str(task) for task in Task if task.codec and kind_called(task.codec).has_things]


def _charts(run: Run, of: NDArray[np.bool_], name: str) -> str:
    """Objects in view and the nearest of each kind, over time."""
    frames, objects = run.frames, run.objects
    gaps: list[tuple[float, float]] = []
    captured = frames["captured_at"][of]
    if not np.isnat(captured).any() and (frames["captured_by"][of] != "file").all():
        begin = captured.min()  # of a camera, whose own times begin anew with each connection
        seconds, seen = (_seconds(columns["captured_at"], begin) for columns in (frames, objects))
        gaps = [
            (float(_seconds(each.since, begin)), float(_seconds(each.until, begin)))
            for each in run.absences(name)
        ]
        unit = "s"
    else:
        is_timed = not np.isnan(frames["time_s"][of]).any()
        axis, unit = ("time_s", "s") if is_timed else ("frame_index", "frame")
        seconds, seen = (columns[axis].astype(np.float64) for columns in (frames, objects))
    edges = charts.edges_of(np.concatenate((seconds[of], np.array(gaps, np.float64).ravel())))
    counts, nearest = {}, {}
    asked = of & np.isin(frames["task"].astype(str), _things()) & (frames["status"] == "ok")
    for written in dict.fromkeys(frames["prompt"][asked].tolist()):
        rows = asked & (frames["prompt"] == written)
        values = frames["num_objects"][rows].astype(np.float64)
        label = ", ".join(Prompt.parse(written).classes)
        counts[label] = charts.points_of(edges, seconds[rows], values, "mean")
    named = (objects["stream_id"] == name) & ~np.isnan(objects["distance_m"])
    for task in (*_things(), str(Task.REFER)):
        for label in sorted(set(objects["label"][named & (objects["task"] == task)].tolist())):
            rows = named & (objects["task"] == task) & (objects["label"] == label)
            metres = objects["distance_m"][rows].astype(np.float64)
            nearest[label] = charts.points_of(edges, seen[rows], metres, "least")
    drawn = charts.line_chart("Objects in view", "", edges, unit, counts, gaps) if counts else ""
    drawn += charts.line_chart("Nearest of each", "m", edges, unit, nearest, gaps) if nearest else ""
    return f"<div class='charts'>{drawn}</div>" if drawn else ""


def _seconds(moments: Any, begin: Any) -> NDArray[np.float64]:
    """Seconds since `begin` of one or several moments."""
    return np.asarray((moments - begin) / np.timedelta64(1, "s"), np.float64)
