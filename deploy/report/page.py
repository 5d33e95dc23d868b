"""The report of a run: one HTML page made from its tables, with pictures inside and nothing to fetch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.deploy.lab.scoring import Score
from plantain.deploy.report import charts, gallery
from plantain.deploy.report.absences import Absence, absences_of, duration_of
from plantain.deploy.report.charts import number_of
from plantain.operators.answers import kind_called
from plantain.operators.errors import UsageError
from plantain.operators.models import BACKENDS
from plantain.operators.prompts import Prompt, Task
from plantain.operators.redaction import shown
from plantain.operators.sinks.parquet.reading import (
    Columns,
    read_frames,
    read_metadata,
    read_objects,
    read_results,
)
from plantain.operators.sinks.store import write_durably
from plantain.pipeline.runner import Outcome

FILE = "report.html"
MAX_BYTES = 3_000_000
# Streams beyond these are in the tables of the page only.
MAX_STREAMS = 12
_FRAME_COLUMNS = (
    "run_id", "stream_id", "epoch", "frame_index", "time_s", "captured_at", "captured_by", "gap_until", "width",
    "height", "task", "prompt", "model",
    "model_fingerprint", "status", "reason", "num_objects", "decode_ms", "wait_ms", "model_ms", "codec_ms",
)  # fmt: skip
_OBJECT_COLUMNS = ("stream_id", "frame_index", "time_s", "captured_at", "task", "label", "distance_m")


@dataclass(frozen=True, slots=True)
class _Run:
    """What the page is made from.

    Attributes:
        frames: Rows of frames.
        gaps: Those of gaps.
    """

    root: str
    frames: Columns
    gaps: Columns
    objects: Columns
    metadata: dict[str, str]
    sources: dict[str, str]
    outcome: Outcome | None
    scores: Sequence[Score]
    num_scored: int

    @property
    def streams(self) -> list[str]:
        return sorted(set(self.frames["stream_id"].tolist()))

    def prompts(self) -> list[Prompt]:
        return [Prompt.parse(written) for written in dict.fromkeys(self.frames["prompt"].tolist())]

    def num_frames(self, of: NDArray[np.bool_] | slice = slice(None)) -> int:
        places = (self.frames[name][of].tolist() for name in ("stream_id", "epoch", "frame_index"))
        return len(set(zip(*places, strict=True)))

    def absences(self, name: str) -> list[Absence]:
        """When nothing was seen of a stream."""
        of = self.gaps["stream_id"] == name
        columns = (self.gaps[column][of] for column in ("captured_at", "gap_until", "reason"))
        return absences_of(zip(*columns, strict=True))


def write_report(
    root: str | Path,
    path: Path | None = None,
    *,
    outcome: Outcome | None = None,
    scores: Sequence[Score] = (),
    num_scored: int = 0,
) -> Path:
    """Writes the page about an output folder.

    Pictures of the input are read again from the run's files; where they are gone, answers are drawn on a
    plain ground.

    Args:
        root: The output folder of a run, local or `s3://`, `gs://`, `abfs://`.
        path: Where the page goes; `report.html` in the folder if left out.
        outcome: How the run went, for its speed.
        scores: How right it was, where that is known.
        num_scored: Frames that the scores are from.

    Returns:
        Where the page is.

    Raises:
        UsageError: If the folder holds no rows, or the page has no place.
        SinkError: If the tables or the page cannot be read or written.
    """
    if path is None:
        if "://" in str(root):
            raise UsageError(f"a report about {shown(str(root))} needs a local file to go to")
        path = Path(root) / FILE
    stored = read_frames(root, _FRAME_COLUMNS)
    is_gap = stored["status"] == "gap"
    frames, gaps = (
        {name: column[of] for name, column in stored.items()} for of in (np.logical_not(is_gap), is_gap)
    )
    if not len(frames["run_id"]):
        raise UsageError(f"{shown(str(root))} holds no rows yet: run something into it first")
    metadata = read_metadata(root)
    run = _Run(
        shown(str(root)),
        frames,
        gaps,
        read_objects(root, _OBJECT_COLUMNS),
        metadata,
        _sources(metadata),
        outcome,
        scores,
        num_scored,
    )
    write_durably(path, _page(run, str(root)).encode())
    return path


def _sources(metadata: dict[str, str]) -> dict[str, str]:
    """Address of each stream, as far as the tables say."""
    told = json.loads(metadata.get("plantain.run", "{}")).get("streams", {})
    return {stream_id: url for stream_id, (url, *_) in told.items()}


def _page(run: _Run, root: str) -> str:
    style = (resources.files("plantain.deploy.service") / "web" / "report.css").read_text(encoding="utf-8")
    sections = {
        "accuracy": ("How right it was", _accuracy(run)),
        "speed": ("Where the time went", _speed(run)),
        "problems": ("What went wrong", _problems(run)),
        "rows": ("Get at the rows", _rows(run)),
        "limits": ("What to keep in mind", _limits(run)),
    }
    spent = len(style) + sum(len(body) for _, body in sections.values()) + 20_000
    streams = _streams(run, root, MAX_BYTES - spent)
    parts = {"streams": ("What was seen", streams), **sections}
    shown = {anchor: part for anchor, part in parts.items() if part[1]}
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, (title, _) in shown.items())
    body = "".join(
        f'<section id="{anchor}"><h2>{title}</h2>{text}</section>' for anchor, (title, text) in shown.items()
    )
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Plantain report: {escape(_title(run))}</title><style>{style}</style></head><body>"
        '<a class="skip" href="#main">Skip to the results</a>'
        f"<header>{_headline(run)}<nav>{links}</nav></header>"
        f'<main id="main">{body}</main><footer>Made by Plantain, {made}. Schema version '
        f"{escape(run.metadata.get('plantain.schema_version', '?'))}.</footer></body></html>\n"
    )


def _title(run: _Run) -> str:
    names = run.streams
    return names[0] if len(names) == 1 else f"{len(names)} streams"


def _headline(run: _Run) -> str:
    """What was run, in one sentence and a few large numbers."""
    prompts, names = run.prompts(), run.streams
    model, print_ = run.frames["model"][0], run.frames["model_fingerprint"][0]
    num_frames = run.num_frames()
    times = run.frames["time_s"]
    cards = [(f"{num_frames:,}", "frames"), (f"{len(run.frames['run_id']):,}", "answers")]
    cards.append((f"{len(run.objects['label']):,}", "regions with masks"))
    if run.outcome is not None and run.outcome.wall_s > 0:
        cards.append((number_of(num_frames / run.outcome.wall_s), "frames per second"))
        cards.append((f"{number_of(run.outcome.wall_s)}&nbsp;s", "wall time"))
    elif not np.isnan(times).all() and len(names) == 1:
        cards.append((f"{number_of(float(np.nanmax(times) - np.nanmin(times)))}&nbsp;s", "of video"))
    bad = int((run.frames["status"] != "ok").sum())
    cards.append((f"{bad:,}", "answers missing"))
    if away_s := sum(each.length_s for name in names for each in run.absences(name)):
        cards.append((duration_of(away_s), "without a camera"))
    numbers = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in cards)
    asked = "".join(f"<li><code>{escape(_short(prompt))}</code></li>" for prompt in prompts)
    plural = "" if len(prompts) == 1 else "s"
    return (
        f"<p class='eyebrow'>Plantain report</p><h1>{escape(_title(run))}</h1>"
        f"<p class='lead'>{num_frames:,} frames, {len(prompts)} question{plural} about each, all answered "
        f"by one model: <b>{escape(str(model))}</b> <span class='dim'>({escape(str(print_))})</span>.</p>"
        f"<ul class='asked'>{asked}</ul><div class='cards'>{numbers}</div>"
    )


def _short(prompt: Prompt) -> str:
    """A prompt as its user would write it, without colours and with few classes."""
    if prompt.task is Task.SEMANTIC and len(prompt.classes) > 8:
        return f"semantic:{','.join(prompt.classes[:7])} and {len(prompt.classes) - 7} more"
    return f"semantic:{','.join(prompt.classes)}" if prompt.task is Task.SEMANTIC else str(prompt)


def _accuracy(run: _Run) -> str:
    """A table of scores against exact labels; nothing without them."""
    if not run.scores:
        return ""
    rows = []
    for score in run.scores:
        measure = score.measure
        meter = ""
        if measure.ideal == 1:
            meter = f'<i class="meter"><i style="width:{max(0.0, min(1.0, score.value)):.0%}"></i></i>'
        rows.append(
            f"<tr><th scope='row'>{escape(measure.name)}"
            f"<span class='dim'>{escape(measure.meaning)}</span></th>"
            f"<td class='number'>{score.written}</td><td class='wide'>{meter}</td>"
            f"<td class='number dim'>{measure.ideal}{measure.unit}</td></tr>"
        )
    return (
        "<p>The pictures were rendered, so every pixel's truth is known. The stored rows of "
        f"{run.num_scored} frames were read back and compared with it.</p><table><thead><tr><th>Measure</th>"
        "<th class='number'>Reached</th><th class='wide'></th>"
        f"<th class='number'>Perfect</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _streams(run: _Run, root: str, budget: int) -> str:
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


def _stream(run: _Run, root: str, name: str, anchor: str, num_moments: int, width: int) -> str:
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


def _charts(run: _Run, of: NDArray[np.bool_], name: str) -> str:
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


def _speed(run: _Run) -> str:
    """Time for each frame by what it was spent on, and how busy each stage was."""
    frames, num_frames = run.frames, run.num_frames()
    _, first = np.unique(
        np.char.add(frames["stream_id"].astype(str), frames["frame_index"].astype(str)), return_index=True
    )
    spent = {
        "decode": float(frames["decode_ms"][first].sum()) / num_frames,
        "model": float(frames["model_ms"].sum()) / num_frames,
        "read the drawings": float(frames["codec_ms"].sum()) / num_frames,
    }
    bar = charts.share_bar("Work for one frame, all questions together", spent, "ms")
    waits = np.percentile(frames["wait_ms"], [50, 95])
    text = (
        f"<p class='dim'>A frame waited {number_of(float(waits[0]))} ms for its turn at the model "
        f"(95 % of them at most {number_of(float(waits[1]))} ms).</p>"
    )
    if run.outcome is None:
        return bar + text
    rows = "".join(
        f"<tr><th scope='row'>{escape(stage)}</th><td class='number'>{number_of(busy)}&nbsp;s</td>"
        f"<td class='number'>{busy / max(run.outcome.wall_s, 1e-9):.0%}</td></tr>"
        for stage, busy in run.outcome.busy_s.items()
    )
    return (
        f"{bar}{text}<table><thead><tr><th>Stage</th><th class='number'>Busy</th>"
        f"<th class='number'>Of the wall time</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _problems(run: _Run) -> str:
    """Answers that are missing, counted by why, and when cameras were away."""
    bad, away = run.frames["status"] != "ok", _away(run)
    if not bad.any():
        return f"<p>{'No answer is missing' if away else 'Nothing'}: all {len(bad):,} answers are there.</p>{away}"
    counts: dict[tuple[str, ...], int] = {}
    for key in zip(
        *(run.frames[column][bad].tolist() for column in ("stream_id", "task", "status", "reason")),
        strict=True,
    ):
        counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    rows = "".join(
        f"<tr><th scope='row'>{escape(stream)}</th><td>{escape(task)}</td><td>{escape(status)}</td>"
        f"<td>{escape(reason or '')}</td><td class='number'>{count:,}</td></tr>"
        for (stream, task, status, reason), count in ranked[:50]
    )
    return (
        "<div class='scroll' tabindex='0'><table><thead><tr><th>Stream</th><th>Task</th><th>Status</th>"
        f"<th>Why</th><th class='number'>Answers</th></tr></thead><tbody>{rows}</tbody></table></div>{away}"
    )


def _away(run: _Run) -> str:
    """How long each camera was away; nothing if none was."""
    rows = []
    for name in run.streams:
        if absences := run.absences(name):
            longest = max(absences, key=lambda each: each.length_s)
            rows.append(
                f"<tr><th scope='row'>{escape(name)}</th><td class='number'>{len(absences):,}</td>"
                f"<td class='number'>{duration_of(sum(each.length_s for each in absences))}</td>"
                f"<td class='number'>{duration_of(longest.length_s)}</td><td>{escape(longest.reason)}</td></tr>"
            )
    if not rows:
        return ""
    return (
        "<p>While a camera is away nothing is known: that is no &ldquo;none&rdquo;.</p>"
        "<div class='scroll' tabindex='0'><table><thead><tr><th>Stream</th><th class='number'>Times away</th>"
        "<th class='number'>In all</th><th class='number'>Longest</th><th>Why</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def queries(root: str) -> dict[str, str]:
    """DuckDB queries over an output folder, by what they answer."""
    folder = root.rstrip("/").replace("'", "''")
    return {
        "How many of what, how near, and for how long": (
            "SELECT stream_id, label, count(*) AS regions, count(DISTINCT track_id) AS tracks,\n"
            "       round(min(distance_m), 1) AS nearest_m, min(time_s) AS from_s, max(time_s) AS to_s\n"
            f"FROM read_parquet('{folder}/objects/*/*.parquet')\n"
            "GROUP BY ALL ORDER BY regions DESC;"
        ),
        "Every answer that is missing, and why": (
            "SELECT stream_id, frame_index, time_s, prompt, status, reason\n"
            f"FROM read_parquet('{folder}/frames/*/*.parquet')\n"
            "WHERE status <> 'ok' ORDER BY stream_id, frame_index;"
        ),
    }


def _rows(run: _Run) -> str:
    run_id, version = str(run.frames["run_id"][0]), run.metadata.get("plantain.schema_version", "?")
    blocks = "".join(
        f"<h4>{escape(title)}</h4><pre tabindex='0'><code>{escape(query)}</code></pre>"
        for title, query in queries(run.root).items()
    )
    python = (
        "from plantain.operators.sinks.parquet.reading import read_results\n\n"
        f"for result in read_results({run.root!r}, {run.streams[0]!r}, [0]):\n"
        "    for prediction in result.predictions:\n"
        "        print(prediction.prompt, prediction.value)   # masks, metres, unit normals as NumPy arrays"
    )
    return (
        "<p>Two flat tables, <code>frames</code> (a row for each frame and question) and "
        "<code>objects</code> (a row for each mask, as COCO run lengths), of run "
        f"<code>{escape(run_id)}</code>, schema version {escape(version)}. DuckDB, Polars and pandas open "
        f"them as they are; paths are seen from where the run was started.</p>{blocks}"
        f"<h4>Maps and masks in Python</h4><pre tabindex='0'><code>{escape(python)}</code></pre>"
    )


def _limits(run: _Run) -> str:
    model = str(run.frames["model"][0])
    spec = BACKENDS.get(model)
    items = [
        "A distance is the median depth of a region along the optical axis, not that of its nearest point.",
        "Example frames have the most objects of their part of the stream, so they look busier than average.",
        "A point of a chart stands for a span of time: counts are its mean, distances its least.",
        "A region's score says how purely it was drawn, not how likely it is to be right.",
    ]
    if spec is not None:
        items.insert(0, f"The model <b>{escape(model)}</b>: {escape(spec.summary)}.")
    if run.scores:
        items.append("The accuracy above is that of rendered scenes; real cameras are harder.")
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"
