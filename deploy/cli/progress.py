"""What a run shows while it works: a bar for each stream on a terminal, lines in the log elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.text import Text

from plantain.operators.redaction import shown
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.stream import ENDED, Phase, Stream
from plantain.pipeline.journal import UNREAD_REMEDY, Journal

# More bars than this do not fit on a screen; then only streams at work have one.
MAX_BARS = 20
# The rate shown is that of the last seconds: long enough to be calm, short enough to show a change.
RATE_WINDOW_S = 10.0

log = structlog.get_logger()


class _Bar(BarColumn):
    """A bar, for what has one."""

    def render(self, task: Task) -> ProgressBar:
        bar = super().render(task)
        if not task.fields["is_bar"]:
            bar.width = 0
        return bar


class _Count(MofNCompleteColumn):
    """How far it is; of what has no end, how long it has lasted."""

    def render(self, task: Task) -> Text:
        if task.fields["is_bar"]:
            return super().render(task)
        return Text(f"{task.elapsed or 0:.0f} s", style="cyan")


class _Left(TimeRemainingColumn):
    """The time that is left, for what has a bar."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["is_bar"] else Text("")


class _Rate(ProgressColumn):
    """Frames per second of the last seconds."""

    def render(self, task: Task) -> Text:
        rate = task.fields["rate"]
        return Text("" if rate is None else f"{rate:.1f} fps", style="cyan")


@contextmanager
def followed(what: str, out: str) -> Iterator[Callable[[Engine], None]]:
    """Follows a run from before its model is loaded until it is over, on the terminal or in the log.

    Args:
        what: What is about to be run, in few words.
        out: Its output folder.

    Yields:
        What the runner is to call now and then.
    """
    if not sys.stderr.isatty():
        log.info("starting", what=what, out=shown(out))
        yield Journal(out).update
        return
    with Display() as display:
        display.wait(f"{what}: loading")
        yield display.update


class Display:
    """Follows an engine on a terminal. Use as a context manager, and hand `update` to the runner.

    Args:
        stream: The terminal; stderr if left out, so that stdout stays free for results.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            _Bar(),
            _Count(),
            _Rate(),
            TextColumn("{task.fields[lost]}"),
            _Left(),
            console=Console(file=stream or sys.stderr),
            refresh_per_second=4,
        )
        self._bars: dict[str, TaskID] = {}
        self._waiting: TaskID | None = None
        self._history: dict[str, deque[tuple[float, int]]] = {}
        self._announced: dict[str, Phase] = {}

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def wait(self, what: str) -> None:
        """Says what is being waited for, and for how long by now, until there is a first answer."""
        if self._waiting is None:
            self._waiting = self._progress.add_task(what, total=None, rate=None, lost="", is_bar=False)
        self._progress.update(self._waiting, description=what)
        self._progress.refresh()

    def update(self, engine: Engine) -> None:
        """Shows where the engine is."""
        streams = list(engine.streams.values())
        self._forget(engine.streams.keys())
        if self._waiting is not None:
            if any(_finished(stream) or stream.phase in ENDED for stream in streams):
                self._progress.remove_task(self._waiting)
                self._waiting = None
            elif any(stream.num_items for stream in streams):
                self.wait("waiting for the first answer: the model warms up")
        for stream in streams:
            self._draw(stream, self._rate(stream), num_streams=len(streams))
            self._announce(stream)

    def _forget(self, known: Set[str]) -> None:
        """Streams that were removed are shown no more."""
        for stream_id in self._history.keys() - known:
            del self._history[stream_id]
            self._announced.pop(stream_id, None)
            bar = self._bars.pop(stream_id, None)
            if bar is not None:
                self._progress.remove_task(bar)

    def _announce(self, stream: Stream) -> None:
        """One line when a stream ends."""
        if stream.phase not in ENDED or self._announced.get(stream.stream_id) is stream.phase:
            return
        self._announced[stream.stream_id] = stream.phase
        self._progress.console.print(describe_end(stream), highlight=False, markup=False, soft_wrap=True)

    def _draw(self, stream: Stream, rate: float | None, *, num_streams: int) -> None:
        is_over = num_streams > MAX_BARS and stream.phase in ENDED
        bar = self._bars.get(stream.stream_id)
        if bar is None:
            if stream.phase is Phase.WAITING or is_over:
                return
            bar = self._progress.add_task(stream.stream_id, total=None, rate=None, lost="", is_bar=True)
            self._bars[stream.stream_id] = bar
        total = stream.info.num_frames if stream.info is not None else None
        finished = _finished(stream)
        if stream.phase in ENDED:
            total, rate = finished, None
        lost = stream.account.lost.total()
        self._progress.update(
            bar,
            completed=finished,
            total=max(total, finished) if total is not None else None,
            rate=rate,
            lost=f"{lost} lost" if lost else "",
        )
        if is_over:
            self._progress.remove_task(bar)
            del self._bars[stream.stream_id]

    def _rate(self, stream: Stream) -> float | None:
        now = time.monotonic()
        history = self._history.setdefault(stream.stream_id, deque())
        history.append((now, _finished(stream)))
        while history[0][0] < now - RATE_WINDOW_S:
            history.popleft()
        (first_s, first), (last_s, last) = history[0], history[-1]
        return (last - first) / (last_s - first_s) if last_s - first_s > 0.5 else None


def describe_end(stream: Stream) -> str:
    """How a stream ended, in a sentence."""
    damage = ""
    if stream.num_damaged:
        damage = f"; {stream.num_damaged} damaged packets in {shown(stream.start.spec.url)} were skipped"
    if stream.unread_bytes:
        damage += (
            f"; {stream.unread_bytes:,} bytes of {shown(stream.start.spec.url)} were not read, as recordings were "
            f"joined that cannot be read as one: {UNREAD_REMEDY}"
        )
    match stream.phase:
        case Phase.DONE:
            return f"{stream.stream_id}: done, {_counts(stream)}{damage}"
        case Phase.FAILED:
            return f"{stream.stream_id}: failed after {_counts(stream)}: {stream.error}{damage}"
        case _ if stream.is_leaving:
            return f"{stream.stream_id}: removed after {_counts(stream)}"
        case _:
            return f"{stream.stream_id}: interrupted after {_counts(stream)}; run the same command again to go on"


def summary(stream: Stream) -> dict[str, object]:
    """A stream's end for machines."""
    account = stream.account
    return {
        "stream_id": stream.stream_id,
        "status": str(stream.phase),
        "error": stream.error or None,
        "decoded": account.decoded,
        "results": account.results,
        "failed": dict(account.failed),
        "lost": dict(account.lost),
        "skipped": dict(account.skipped),
        "damaged_packets": stream.num_damaged,
        "unread_bytes": stream.unread_bytes,
        "cost_usd": stream.start.durable.cost_usd,
        "prompts": {
            prompt: {
                "decoded": book.decoded,
                "results": book.results,
                "failed": dict(book.failed),
                "lost": dict(book.lost),
                "skipped": dict(book.skipped),
            }
            for prompt, book in account.prompts.items()
        },
    }


def _finished(stream: Stream) -> int:
    account = stream.account
    return account.results + account.failed.total()


def _counts(stream: Stream) -> str:
    account = stream.account
    parts = [f"{_finished(stream)} frames"]
    if account.failed:
        parts.append(
            ", ".join(f"{count} failed in {stage}" for stage, count in sorted(account.failed.items()))
        )
    for what, reasons in (("lost", account.lost), ("not wanted", account.skipped)):
        if reasons:
            parts.append(", ".join(f"{count} {what} ({why})" for why, count in sorted(reasons.items())))
    return ", ".join(parts)
