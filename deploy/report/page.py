"""The report of a run: one HTML page made from its tables, with pictures inside and nothing to fetch."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from plantain.deploy.lab.scoring import Score
from plantain.deploy.report import sections, whole
from plantain.deploy.report.absences import duration_of
from plantain.deploy.report.charts import number_of
from plantain.deploy.report.run import Run
from plantain.deploy.report.streams import streams_of
from plantain.operators.errors import UsageError
from plantain.operators.prompts import Prompt, Task
from plantain.operators.redaction import shown
from plantain.operators.sinks.store import write_durably
from plantain.pipeline.runner import Outcome

FILE = "report.html"
MAX_BYTES = 3_000_000


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
    run = Run.read(str(root), outcome, scores, num_scored)
    write_durably(path, _page(run, str(root)).encode())
    return path


def _page(run: Run, root: str) -> str:
    about_all = {
        "accuracy": ("How right it was", sections.accuracy(run)),
        "speed": ("Where the time went", sections.speed(run)),
        "problems": ("What went wrong", sections.problems(run)),
        "rows": ("Get at the rows", sections.rows(run)),
        "limits": ("What to keep in mind", sections.limits(run)),
    }
    spent = len(whole.style()) + sum(len(body) for _, body in about_all.values()) + 20_000
    seen = streams_of(run, root, MAX_BYTES - spent)
    parts = {"streams": ("What was seen", seen), **about_all}
    shown = {anchor: part for anchor, part in parts.items() if part[1]}
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, (title, _) in shown.items())
    body = "".join(
        f'<section id="{anchor}"><h2>{title}</h2>{text}</section>' for anchor, (title, text) in shown.items()
    )
    version = escape(run.metadata.get("plantain.schema_version", "?"))
    return whole.page(
        f"Plantain report: {_title(run)}",
        "results",
        f"{_headline(run)}<nav>{links}</nav>",
        body,
        f" Schema version {version}.",
    )


def _title(run: Run) -> str:
    names = run.streams
    return names[0] if len(names) == 1 else f"{len(names)} streams"


def _headline(run: Run) -> str:
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
    if run.unread:
        cards.append((f"{sum(run.unread.values()):,}", "bytes of files not read"))
    asked = "".join(f"<li><code>{escape(_short(prompt))}</code></li>" for prompt in prompts)
    plural = "" if len(prompts) == 1 else "s"
    return (
        f"<p class='eyebrow'>Plantain report</p><h1>{escape(_title(run))}</h1>"
        f"<p class='lead'>{num_frames:,} frames, {len(prompts)} question{plural} about each, all answered "
        f"by one model: <b>{escape(str(model))}</b> <span class='dim'>({escape(str(print_))})</span>.</p>"
        f"<ul class='asked'>{asked}</ul>{whole.cards(cards)}"
    )


def _short(prompt: Prompt) -> str:
    """A prompt as its user would write it, without colours and with few classes."""
    if prompt.task is Task.SEMANTIC and len(prompt.classes) > 8:
        return f"semantic:{','.join(prompt.classes[:7])} and {len(prompt.classes) - 7} more"
    return f"semantic:{','.join(prompt.classes)}" if prompt.task is Task.SEMANTIC else str(prompt)
