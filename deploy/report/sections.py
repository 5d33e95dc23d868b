"""The parts of a report that are about the whole run: tables and sentences."""

from __future__ import annotations

from html import escape

import numpy as np

from plantain.deploy.report import charts
from plantain.deploy.report.absences import duration_of
from plantain.deploy.report.charts import number_of
from plantain.deploy.report.run import Run
from plantain.operators.models import BACKENDS
from plantain.operators.redaction import shown
from plantain.pipeline.journal import UNREAD_REMEDY


def accuracy(run: Run) -> str:
    """A table of scores against exact labels; nothing without them."""
    if not run.scores:
        return ""
    lines = []
    for score in run.scores:
        measure = score.measure
        meter = ""
        if measure.ideal == 1:
            meter = f'<i class="meter"><i style="width:{max(0.0, min(1.0, score.value)):.0%}"></i></i>'
        lines.append(
            f"<tr><th scope='row'>{escape(measure.name)}"
            f"<span class='dim'>{escape(measure.meaning)}</span></th>"
            f"<td class='number'>{score.written}</td><td class='wide'>{meter}</td>"
            f"<td class='number dim'>{measure.ideal}{measure.unit}</td></tr>"
        )
    return (
        "<p>The pictures were rendered, so every pixel's truth is known. The stored rows of "
        f"{run.num_scored} frames were read back and compared with it.</p><table><thead><tr><th>Measure</th>"
        "<th class='number'>Reached</th><th class='wide'></th>"
        f"<th class='number'>Perfect</th></tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def speed(run: Run) -> str:
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
    lines = "".join(
        f"<tr><th scope='row'>{escape(stage)}</th><td class='number'>{number_of(busy)}&nbsp;s</td>"
        f"<td class='number'>{busy / max(run.outcome.wall_s, 1e-9):.0%}</td></tr>"
        for stage, busy in run.outcome.busy_s.items()
    )
    return (
        f"{bar}{text}<table><thead><tr><th>Stage</th><th class='number'>Busy</th>"
        f"<th class='number'>Of the wall time</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def problems(run: Run) -> str:
    """Answers that are missing, counted by why, and when cameras were away."""
    bad, away = run.frames["status"] != "ok", _away(run) + _unread(run)
    if not bad.any():
        return f"<p>{'No answer is missing' if away else 'Nothing'}: all {len(bad):,} answers are there.</p>{away}"
    counts: dict[tuple[str, ...], int] = {}
    for key in zip(
        *(run.frames[column][bad].tolist() for column in ("stream_id", "task", "status", "reason")),
        strict=True,
    ):
        counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    lines = "".join(
        f"<tr><th scope='row'>{escape(stream)}</th><td>{escape(task)}</td><td>{escape(status)}</td>"
        f"<td>{escape(reason or '')}</td><td class='number'>{count:,}</td></tr>"
        for (stream, task, status, reason), count in ranked[:50]
    )
    return (
        "<div class='scroll' tabindex='0'><table><thead><tr><th>Stream</th><th>Task</th><th>Status</th>"
        f"<th>Why</th><th class='number'>Answers</th></tr></thead><tbody>{lines}</tbody></table></div>{away}"
    )


def _away(run: Run) -> str:
    """How long each camera was away; nothing if none was."""
    lines = []
    for name in run.streams:
        if absences := run.absences(name):
            longest = max(absences, key=lambda each: each.length_s)
            lines.append(
                f"<tr><th scope='row'>{escape(name)}</th><td class='number'>{len(absences):,}</td>"
                f"<td class='number'>{duration_of(sum(each.length_s for each in absences))}</td>"
                f"<td class='number'>{duration_of(longest.length_s)}</td><td>{escape(longest.reason)}</td></tr>"
            )
    if not lines:
        return ""
    return (
        "<p>While a camera is away nothing is known: that is no &ldquo;none&rdquo;.</p>"
        "<div class='scroll' tabindex='0'><table><thead><tr><th>Stream</th><th class='number'>Times away</th>"
        "<th class='number'>In all</th><th class='number'>Longest</th><th>Why</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _unread(run: Run) -> str:
    """What of each file could not be read; nothing if all was."""
    if not run.unread:
        return ""
    lines = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td class='number'>{size:,}</td>"
        f"<td>{escape(shown(run.sources.get(name, '')))}</td></tr>"
        for name, size in run.unread.items()
    )
    return (
        "<p>Not all of these files is among the frames: recordings were joined that cannot be read as one "
        f"({escape(UNREAD_REMEDY)}).</p><div class='scroll' tabindex='0'><table><thead><tr><th>Stream</th>"
        f"<th class='number'>Bytes not read</th><th>File</th></tr></thead><tbody>{lines}</tbody></table></div>"
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


def rows(run: Run) -> str:
    """How to get at them."""
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


def limits(run: Run) -> str:
    """What to keep in mind."""
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
